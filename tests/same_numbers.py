"""Runs whose numbers are compared, as digests: of the weights at the end, and of what converters write.

As a program, ``python tests/same_numbers.py FOLDER CASE ...``, it prints them as JSON: for processes of their own.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

NAME = "word"
COMMON: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "inner_size", "embedding_size"), 16),
    **dict.fromkeys(("n_layers", "n_heads", "seed"), 1),
    "encoder": "test_resnet",
    "encoder_weights": "random",
    "image_size": 32,
    "text_length": 8,
    "MAX_ITEM_LIST_LENGTH": 10,
    "train_batch_size": 16,
    "epochs": 2,
    "hidden_dropout_prob": 0.2,
    "attn_dropout_prob": 0.2,
    "show_progress": False,
    "state": "ERROR",
}
CASES: dict[str, dict[str, Any]] = {
    "cached trunk, candidates drawn": {
        "model": "PixelSASRec", "tune": "top:1", "loss_type": "CE", "extra_candidates": 4, "precision": "float32",
    },
    "whole encoder, negatives drawn": {"model": "PixelGRU4Rec", "tune": "full", "loss_type": "BPR"},
    "picture and text, parts hidden": {
        "model": "PixelBERT4Rec", "item_tower": "image_text", "tune": "frozen", "modality_dropout": 0.5,
        "feature_noise": 0.1,
    },
    "text": {"model": "PixelSASRec", "item_tower": "text", "text_tune": "lora:2", "loss_type": "BCE"},
    "pairs of ids, shared negatives": {"model": "PixelMF", "item_tower": "id", "shared_negatives": 8},
}  # fmt: skip


def numbers_of(folder: Path, case: str, **own: Any) -> dict[str, Any]:
    """Losses, scores, test metrics and a digest of all weights of a run of ``case`` on the world in ``folder``."""
    from recbole_pixel.quick_start import run

    asked = {**COMMON, **CASES[case], "text_encoder": str(folder / "bert"), **own}
    places = {"data_path": str(folder), "checkpoint_dir": str(folder / "saved")}
    digests: list[str] = []
    result = run(
        asked.pop("model"), NAME, settings={**asked, **places}, saved=False,
        then=lambda _, trained: digests.append(digest_of(trained.model.state_dict())),
    )  # fmt: skip
    return {"curves": result["curves"], "test": result["test"], "weights": digests[0]}


def digest_of(state: Any) -> str:
    """A digest of all numbers of a state, bit by bit."""
    found = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        found.update(name.encode() + tensor.contiguous().cpu().flatten().view(-1).numpy().tobytes())
    return found.hexdigest()


def converted(folder: Path) -> dict[str, str]:
    """Digests of what the converter of tables writes, by file."""
    from recbole_pixel.cli import main

    lines = [f"u{row * 7 % 11},s{row * 5 % 13},{row}" for row in range(80)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.csv").write_text("\n".join(["user,item,time", *lines]) + "\n")
    columns = ["--user", "user", "--item", "item", "--time", "time", "--k-core", "3"]
    line = ["convert", "table", "--interactions", str(folder / "log.csv"), *columns, "--name", "t"]
    assert main([*line, "--out", str(folder)]) == 0
    files = sorted(path for path in (folder / "t").iterdir() if path.suffix in (".inter", ".item"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def main(folder: Path, cases: Iterable[str], n_threads: int) -> None:
    """Prints the numbers of ``cases``, and what was converted."""
    import torch

    torch.set_num_threads(n_threads)
    with redirect_stdout(sys.stderr):
        found: dict[str, Any] = {case: numbers_of(folder, case) for case in cases}
        found["converted"] = converted(folder / f"converted-{os.getpid()}")
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[3:], int(sys.argv[2]))

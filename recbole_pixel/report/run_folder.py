"""The folder that a run leaves: its result, its users' results and its page, and the runs that it may stand beside."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from recbole_pixel.quick_start import Trained, write_result
from recbole_pixel.report.tested import cases_digest, ranked_among

RESULT, PER_USER, REPORT = "result.json", "per_user.npz", "report.html"

TOWERS = {
    "id": "ID twin",
    "image": "pictures",
    "text": "texts",
    "image_text": "pictures and texts",
    "vlm": "read by a vision-language model",
    "features": "stored features",
}
"""What item towers are called in tables."""


class KeptRun(NamedTuple):
    """A run in the folder of results.

    Attributes:
        folder: its own.
        result: what is in its ``result.json``.
    """

    folder: Path
    result: dict[str, Any]


def new_folder(result_dir: Path, result: Mapping[str, Any]) -> Path:
    """Makes the folder of a run, called as its checkpoint is; or as one would be where it has none."""
    if result["checkpoint"]:
        name = Path(result["checkpoint"]).stem
    else:
        name = f"{result['model']}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    if result["dataset"] not in name:  # RecBole calls its checkpoints by model and second
        name = name.replace(result["model"], f"{result['model']}-{result['dataset']}", 1)
    folder = _free(result_dir, re.sub(r"[^\w.,+=@ -]", "_", name).lstrip("."))
    folder.mkdir(parents=True)
    return folder


def _free(parent: Path, name: str) -> Path:
    names = (name, *(f"{name}-{number}" for number in range(2, 10_000)))
    return next(parent / one for one in names if not (parent / one).exists())


def read_run(folder: Path) -> KeptRun:
    """The run of a folder.

    Raises:
        FileNotFoundError: it has no result.
        ValueError: its result cannot be read.
    """
    path = folder / RESULT
    if not path.is_file():
        raise FileNotFoundError(f"there is no {RESULT} in {folder}; expected the folder of a run, such as result/RUN")
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        return KeptRun(folder, {**result, "label": row_label(result)})
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no result of a run ({error}); remove that folder") from error


def kept_runs(result_dir: Path) -> Iterator[KeptRun]:
    """All runs that are kept, the newest first; folders of something else are passed over."""
    paths = sorted(result_dir.glob(f"*/{RESULT}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in paths:
        try:
            yield read_run(path.parent)
        except ValueError:
            continue


def write_run(folder: Path, result: Mapping[str, Any]) -> None:
    """Writes a run's result into its folder."""
    write_result(result, folder / RESULT)


def comparable_runs(result_dir: Path, result: Mapping[str, Any]) -> list[KeptRun]:
    """Other runs on the same data and the same split: of each model, tower and control, the newest."""
    mark, own = result.get("split"), row_label(result)
    found: dict[str, KeptRun] = {}
    for run in kept_runs(result_dir) if mark else ():
        if run.result.get("split") == mark and run.result["label"] != own:
            found.setdefault(run.result["label"], run)
    return list(found.values())


def row_label(result: Mapping[str, Any]) -> str:
    """What a run is called in a table: model, tower, and what makes it a control."""
    tower, settings = result["item_tower"], result.get("settings") or {}
    words = [result["model"], *([] if tower is None else [TOWERS.get(tower, tower)])]
    for key, part in (("shuffle_images", "pictures"), ("shuffle_texts", "texts")):
        if tower is not None and settings.get(key):
            is_all = words[-1] in (part, TOWERS["features"])
            words.append(f"{words.pop() if is_all else part} shuffled")
    if tower in ("image", "image_text") and settings.get("encoder_weights") == "random":
        words.append("random encoder")
    if not result.get("mask_history", True):
        words.append("histories not masked")
    return ", ".join(words)


def split_mark(trained: Trained) -> str | None:
    """A digest of what a run was tested on, and how; None where its metrics rank no items.

    Runs with the same one can stand in one table: the same users had to find the same items among as many, with the
    same ones held out. Whether histories were masked is told beside.
    """
    if trained.each is None:
        return None
    told = [trained.config["dataset"], cases_digest(trained.each), *ranked_among(trained).values()]
    return sha256(json.dumps(told).encode()).hexdigest()[:16]

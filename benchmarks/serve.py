"""Claims: all 943 users get their items in under 5 seconds, a new picture is scored in under 2, both after loading.

The dataset is MovieLens-100K with drawn covers, as `make demo` has it, the model PixelSASRec after one epoch, unless a
checkpoint is named. Both are claimed of the first call, as a command makes it; the median of further ones is beside. A
new picture is read from its file, goes into the store's form and through the whole encoder, is multiplied with the
vectors of all users, which the first call makes, and compared with all items. A third claim: with the histories of the
test evaluation, scores of all its rows are those of the model there, to 1e-4.

    python benchmarks/serve.py [--checkpoint FILE --data_path FOLDER] [--rounds 5] [--folder FOLDER] [--quick]
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from noise_world import noise_picture, noise_world
from side_by_side import alternate, claim, common_options, machine

import recbole_pixel
from recbole_pixel.cli import main as command
from recbole_pixel.quick_start import prepare_data, run
from recbole_pixel.serve.checkpoints import opened_checkpoint, serving_config
from recbole_pixel.store import encode_image

RECOMMEND_SECONDS, NEW_ITEM_SECONDS, DIFFERENCE = 5.0, 2.0, 1e-4


def trained(folder: Path, is_quick: bool) -> tuple[str, Path]:
    """A checkpoint of one epoch, and its data_path."""
    settings: dict[str, Any] = {"epochs": 1, "checkpoint_dir": str(folder / "saved"), "state": "WARNING"}
    settings |= {"show_progress": False}
    if is_quick:
        world = noise_world(folder, 200, 200)
        name, data_path = world.dataset, world.data_path
        settings |= {"encoder": "resnet18", "encoder_weights": "random", "image_size": 64, "tune": "top:1"}
    else:
        name, data_path = "ml-100k-covers", folder
        command(["convert", "ml-100k", "--name", name, "--out", str(folder)])
    result = run("PixelSASRec", name, settings={**settings, "data_path": str(data_path)})
    return str(result["checkpoint"]), data_path


def first_call(program: Callable[[], object]) -> dict[str, float]:
    """Seconds of a call, and those of the processor, over all threads: a wall clock counts others, too."""
    began = time.perf_counter(), time.process_time()
    program()
    return {"seconds": time.perf_counter() - began[0], "processor_seconds": time.process_time() - began[1]}


@torch.no_grad()
def largest_difference(checkpoint: str, data_path: Path | None) -> tuple[float, int]:
    """Between the scores of the evaluation's rows and the recommender's, and how many rows there are."""
    recommender = recbole_pixel.load(checkpoint, data_path=data_path, history="train")
    config = serving_config(opened_checkpoint(checkpoint, trust=False), data_path, None, {})
    *_, test = prepare_data(config)
    tokens, largest, n_rows = test.dataset.field2id_token[config["USER_ID_FIELD"]], 0.0, 0
    for rows, *_ in test:
        expected = recommender.model.full_sort_predict(rows.to(config["device"])).view(len(rows), -1)[:, 1:]
        found = recommender.scores([str(tokens[user]) for user in rows[config["USER_ID_FIELD"]]])
        largest = max(largest, float(np.abs(expected.cpu().numpy() - found).max()))
        n_rows += len(rows)
    return largest, n_rows


def main() -> None:
    """Loads, measures, prints."""
    parser = common_options(__doc__, rounds=5)
    parser.add_argument("--checkpoint", help="of a model whose items are pictures; one is trained by default")
    parser.add_argument("--data_path", type=Path, help="of its dataset; as in training by default")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        checkpoint, data_path = arguments.checkpoint, arguments.data_path
        if checkpoint is None:
            checkpoint, data_path = trained(folder, arguments.quick)
        picture = Path(temporary) / "new.jpg"
        picture.write_bytes(encode_image(noise_picture(np.random.default_rng(7), 500)))
        began = time.perf_counter()
        recommender = recbole_pixel.load(checkpoint, data_path=data_path)
        loading = time.perf_counter() - began
        programs = {"recommend": lambda: recommender.recommend(), "new": lambda: recommender.score_new(picture)}
        first = {name: first_call(program) for name, program in programs.items()}
        again = alternate(programs, 2 if arguments.quick else arguments.rounds, warm_up=0)
        about = {"users": len(recommender.users), "items": len(recommender.items), "load_seconds": loading}
        for name, limit in (("recommend", RECOMMEND_SECONDS), ("new", NEW_ITEM_SECONDS)):
            took = {**first[name], "seconds_again": again[name]}
            claim(f"serve: {name}", limit / first[name]["seconds"], 1.0, **took, **about)
        difference, n_rows = largest_difference(checkpoint, data_path)
        claim(
            "serve: equal to the evaluation",
            DIFFERENCE / max(difference, 1e-12),
            1.0,
            difference=difference,
            rows=n_rows,
            **machine(),
        )


if __name__ == "__main__":
    main()

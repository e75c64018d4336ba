"""Claim: two processes that talk by gloo train and evaluate what one process does, and do no work twice.

A ResNet-18 that learns wholly, on pictures of 64 pixels, in PixelSASRec; random weights and interactions; float32; each
process has one thread. One and two processes alternate; all of them start anew.

* ``same metrics``: the largest difference of validation and test metrics and of the steps' losses is at most 1e-4: the
  ratio is 1e-4 / difference.
* ``items encoded once``: items that one process encodes, training and evaluation together, for one that two do.
* ``users scored once``: likewise.
* ``seconds``: of an epoch's steps, one process for two. Nothing is promised: cores that others use are not two.

    python benchmarks/distributed.py [--users 120] [--items 200] [--rounds 2] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from noise_world import MAX_LENGTH, NAME, noise_world
from side_by_side import alternate, claim, machine

from recbole_pixel.launcher import launch

TOLERANCE = 1e-4
SETTINGS: dict[str, Any] = {
    "encoder": "resnet18",
    "encoder_weights": "random",
    "batch_norm": "frozen",
    "image_size": 64,
    "tune": "full",
    "MAX_ITEM_LIST_LENGTH": MAX_LENGTH,
    "hidden_dropout_prob": 0.0,
    "attn_dropout_prob": 0.0,
    "train_batch_size": 32,
    "learner": "sgd",  # Adam turns differences of rounding into steps where a gradient is zero
    "learning_rate": 0.01,
    "precision": "float32",
    "metric_decimal_place": 7,
    "epochs": 2,
    "show_progress": False,
    "state": "ERROR",
}


def main() -> None:
    """Prints the claims."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=120)
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="40 users, 60 items, one round")
    parser.add_argument("--as-rank", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.as_rank:
        train(Path(given.as_rank))
        return
    if given.quick:
        given.users, given.items, given.rounds = 40, 60, 1
    with TemporaryDirectory() as folder:
        world = noise_world(Path(folder), given.users, given.items)
        compare(world.data_path, given.rounds)


def compare(folder: Path, rounds: int) -> None:
    """Runs one and two processes on the dataset in ``folder`` and prints the claims."""
    os.environ["OMP_NUM_THREADS"] = "1"
    seconds = alternate({"one": program(folder, 1), "two": program(folder, 2)}, rounds, warm_up=0)
    (one,), two = reports(folder, 1), reports(folder, 2)
    losses = [sum(step) / 2 for step in zip(*(report["losses"] for report in two), strict=True)]
    differences = [abs(a - b) for a, b in zip(losses, one["losses"], strict=True)]
    for part in ("best_valid", "test"):
        differences += [abs(one[part][name] - report[part][name]) for report in two for name in one[part]]
    worst = max(differences)
    claim("same metrics", TOLERANCE / max(worst, 1e-12), 1.0, largest_difference=worst, test=one["test"])
    for kind, counted in (("items encoded", "encoded"), ("users scored", "scored")):
        alone, together = Counter(one[counted]), sum((Counter(report[counted]) for report in two), Counter())
        ratio = alone.total() / together.total() if alone == together else 0.0
        claim(f"{kind} once", ratio, 1.0, one=alone.total(), two=[len(report[counted]) for report in two])
    claim("seconds", seconds["one"] / seconds["two"], None, **seconds, machine=machine())


def program(folder: Path, n_ranks: int) -> Callable[[], float]:
    """Trains in ``n_ranks`` new processes; returns the seconds of an epoch."""

    def run() -> float:
        code = launch([sys.executable, __file__, "--as-rank", str(folder)], n_ranks)
        if code:
            raise RuntimeError(f"{n_ranks} processes ended with code {code}")
        return float(reports(folder, n_ranks)[0]["seconds_per_epoch"])

    return run


def reports(folder: Path, n_ranks: int) -> list[dict[str, Any]]:
    """What the ranks of a run wrote."""
    return [json.loads((folder / f"{rank}-of-{n_ranks}.json").read_text()) for rank in range(n_ranks)]


def train(folder: Path) -> None:
    """A rank's part: trains, counts what it does, and writes a report."""
    from recbole_pixel.item_tower import ItemTower
    from recbole_pixel.quick_start import run
    from recbole_pixel.trainer import PixelTrainer

    os.chdir(folder)
    report: dict[str, Any] = {"losses": [], "encoded": [], "scored": []}
    step, score, encode = PixelTrainer._train_step, PixelTrainer._full_sort_batch_eval, ItemTower.encode_items

    def train_step(self: Any, *arguments: Any) -> Any:
        loss = step(self, *arguments)
        report["losses"].append(loss.item())
        return loss

    def score_batch(self: Any, batch: Any) -> Any:
        report["scored"] += batch[0]["user_id"].tolist()
        return score(self, batch)

    def encode_items(self: Any, ids: Any, arrays: Any) -> Any:
        report["encoded"] += ids.tolist()
        return encode(self, ids, arrays)

    PixelTrainer._train_step = train_step  # type: ignore[method-assign]
    PixelTrainer._full_sort_batch_eval = score_batch  # type: ignore[method-assign]
    ItemTower.encode_items = encode_items  # type: ignore[method-assign]
    report |= run("PixelSASRec", NAME, settings={**SETTINGS, "data_path": str(folder)})
    name = f"{os.environ['RANK']}-of-{os.environ['WORLD_SIZE']}.json"
    Path(name).write_text(json.dumps(report, default=float))


if __name__ == "__main__":
    main()

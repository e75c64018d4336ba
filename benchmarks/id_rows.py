"""Claim: an epoch of the ID twin is at least 50 times faster than an epoch of RecBole's own SASRec.

Same data, dimensions and history length. RecBole trains on one row per target; the twin on one row per stretch of a
user's history, with a loss at every position: the same targets, each once an epoch. In one process, alternating: an
epoch of ours, then a slice of RecBole's epoch, which is scaled to a whole one by its number of batches.

    python benchmarks/id_rows.py --dataset ml-100k-posters [--max_length 50] [--batches 3] [--rounds 3]

With `--quality` it compares what both reach instead: both early-stopped on validation NDCG@10, histories masked alike,
seeds 1, 2, 3; with RecBole's own hyper-parameters and with ours for RecBole's class.

    python benchmarks/id_rows.py --dataset ml-100k-posters --max_length 20 --quality
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from typing import Any

import recbole_pixel  # noqa: F401

SEEDS = (1, 2, 3)
SHARED = ("n_layers", "n_heads", "hidden_size", "inner_size", "hidden_dropout_prob", "attn_dropout_prob")


def settings(options: argparse.Namespace, **more: Any) -> dict[str, Any]:
    """What both runs share."""
    return {
        "data_path": options.data_path,
        "MAX_ITEM_LIST_LENGTH": options.max_length,
        "show_progress": False,
        "state": "ERROR",
        **more,
    }


def trainer_of(model: str, dataset: str, chosen: dict[str, Any]) -> tuple[Any, Any]:
    """A trainer and its training loader, ready for an epoch."""
    from recbole.utils import get_model, get_trainer, init_seed

    from recbole_pixel.config import make_config
    from recbole_pixel.quick_start import prepare_data

    config = make_config(model, dataset, settings=chosen)
    init_seed(config["seed"], True)
    _, train, _, _ = prepare_data(config)
    network = get_model(model)(config, train._dataset).to(config["device"])
    return get_trainer(config["MODEL_TYPE"], model)(config, network), train


class Slice:
    """The first batches of a loader, as a loader."""

    def __init__(self, loader: Any, n_batches: int) -> None:
        self.loader, self.n_batches = loader, n_batches
        self.shuffle = loader.shuffle

    def __iter__(self) -> Any:
        return itertools.islice(iter(self.loader), self.n_batches)

    def __len__(self) -> int:
        return self.n_batches


def seconds(trainer: Any, loader: Any, epoch: int) -> float:
    """Wall time of a pass over ``loader``."""
    began = time.perf_counter()
    trainer._train_epoch(loader, epoch)
    return time.perf_counter() - began


def speed(options: argparse.Namespace) -> None:
    """Prints seconds per epoch of both, and the ratio."""
    twin, twin_data = trainer_of("PixelSASRec", options.dataset, settings(options, item_tower="id", rows_per_user=None))
    shared = {key: twin.config[key] for key in SHARED}
    stock, stock_data = trainer_of("SASRec", options.dataset, settings(options, train_batch_size=2048, **shared))
    part = Slice(stock_data, options.batches)
    ours, theirs = [], []
    for round_ in range(options.rounds + 1):
        ours.append(seconds(twin, twin_data, round_))
        theirs.append(seconds(stock, part, round_) * len(stock_data) / options.batches)
    ours, theirs = ours[1:], theirs[1:]  # the first round warms up
    for name, values in (("ID twin", ours), ("RecBole's SASRec", theirs)):
        print(f"{name}: {statistics.median(values):.2f} s an epoch (rounds: {', '.join(f'{v:.2f}' for v in values)})")
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    print(f"ratio: {statistics.median(ratios):.0f}x (rounds: {', '.join(f'{ratio:.0f}' for ratio in ratios)})")


def quality(options: argparse.Namespace) -> None:
    """Prints NDCG@10 on the test split of both, by seed and in the mean."""
    from recbole_pixel.quick_start import run

    shared = {"stopping_step": options.patience, "metric_decimal_place": 4}
    own = {"train_batch_size": 2048, "learner": "adam", "weight_decay": 0.0}
    twin = {"item_tower": "id", "rows_per_user": None, "epochs": 200}
    dropout = {"hidden_dropout_prob": 0.5, "attn_dropout_prob": 0.5}  # RecBole's default
    behind = {"row_targets": options.max_length // 4, "learning_rate": 0.001, **dropout}
    runs = {
        "ID twin, all targets": ("PixelSASRec", twin),
        "ID twin, targets behind a context": ("PixelSASRec", {**twin, **behind}),
        "RecBole's SASRec, its defaults": ("SASRec", {**own, **dropout, "learning_rate": 0.001}),
        "RecBole's SASRec, the twin's dropout": (
            "SASRec",
            {**own, "learning_rate": 0.001, "hidden_dropout_prob": 0.2, "attn_dropout_prob": 0.2},
        ),
    }
    for name, (model, chosen) in runs.items():
        if options.only and options.only not in name:
            continue
        found = []
        for seed in options.seeds:
            result = run(model, options.dataset, settings=settings(options, seed=seed, **shared, **chosen), saved=True)
            found.append(result["test"]["ndcg@10"])
            print(
                f"  {name}, seed {seed}: {result['test']}, {result['epochs']} epochs, {result['seconds']:.0f} s",
                flush=True,
            )
        print(
            f"{name}: NDCG@10 {statistics.mean(found):.4f} (seeds {', '.join(f'{v:.4f}' for v in found)})", flush=True
        )


def main() -> None:
    """Reads the options and runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--data_path", default="dataset_atomic")
    parser.add_argument("--max_length", type=int, default=50)
    parser.add_argument("--batches", type=int, default=3, help="of RecBole's epoch, timed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quality", action="store_true")
    parser.add_argument("--patience", type=int, default=5, help="epochs without a better validation before a stop")
    parser.add_argument("--only", help="only the runs whose name holds this")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    options = parser.parse_args()
    quality(options) if options.quality else speed(options)


if __name__ == "__main__":
    main()

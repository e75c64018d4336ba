"""Claim: what a model learnt on other users and other items helps; at equal epochs it is not worse than from scratch.

Deals a dataset's users and its items out into two halves each, by chance: the first dataset is the first half of the
users with the first half of the items, the second one the others. A model is trained on the first; on the second it is
evaluated as it is (zero-shot), trained on from there (fine-tuned), and trained from scratch for as many epochs. The
control is fine-tuned from a run whose pictures or texts were dealt out at random: what it carries over is no knowledge
of items. Results are kept, so that an interrupted run goes on.

    python benchmarks/transfer.py --dataset ml-100k-covers [--tower image] [--epochs 4] [--source_epochs N]
        [--transfer all] [--seeds 1 2 3] [--results FILE] [--jobs N] [--key=value ...]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recbole_pixel.commands.train import parse_settings
from recbole_pixel.properties_path import properties_dir
from recbole_pixel.report.kept_runs import KeptRuns
from recbole_pixel.report.pool import run_missing
from recbole_pixel.result_table import markdown_table

MODEL, SPLIT = "PixelSASRec", 1
CONTROL = {"image": "shuffle_images", "text": "shuffle_texts", "image_text": "shuffle_images"}
ROWS = ("from scratch", "zero-shot", "fine-tuned", "fine-tuned from shuffled", "Pop")


def halves(folder: Path, name: str, out: Path) -> None:
    """Writes the datasets NAME-first and NAME-second, of other users and other items, into ``out``."""
    table = pl.read_csv(folder / name / f"{name}.inter", separator="\t", infer_schema=False, quote_char=None)
    user, item = (next(column for column in table.columns if column.startswith(field)) for field in ("user", "item"))
    rng = np.random.default_rng(SPLIT)
    first = {column: _half(table[column].unique(maintain_order=True).to_numpy(), rng) for column in (user, item)}
    for half, is_first in (("first", True), ("second", False)):
        is_in = [pl.col(column).is_in(first[column]) == is_first for column in (user, item)]
        path = out / f"{name}-{half}" / f"{name}-{half}.inter"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.filter(*is_in).write_csv(path, separator="\t", quote_style="never")
        items = folder / name / f"{name}.item"
        if items.is_file():
            path.with_suffix(".item").write_bytes(items.read_bytes())


def _half(tokens: np.ndarray, rng: np.random.Generator) -> list[str]:
    return list(rng.permutation(tokens)[: len(tokens) // 2])


def train(name: str, settings: dict[str, Any], files: list[str], model: str = MODEL) -> dict[str, Any]:
    """One run; its test metrics, its seconds and where its weights are."""
    from recbole_pixel.quick_start import run

    result = run(model, name, files, {"show_progress": False, "state": "ERROR", **settings})
    return {key: result[key] for key in ("test", "seconds", "checkpoint")}


def plan(options: argparse.Namespace, settings: dict[str, Any], runs: KeptRuns, stage: int) -> dict[Any, Any]:
    """What is to be run: the runs on the first half (stage 0), then those that start from them, and the others."""
    files = [str(path) for path in [properties_dir() / "dataset" / f"{options.dataset}.yaml"] if path.is_file()]
    control = {CONTROL[options.tower]: True}
    wanted: dict[Any, Any] = {}
    for seed in options.seeds:
        shared = {"seed": seed, "item_tower": options.tower, **settings}
        source = {**shared, **({"epochs": options.source_epochs} if options.source_epochs else {})}
        second = {**shared, "epochs": options.epochs, "stopping_step": max(1, options.epochs)}
        if stage == 0:
            wanted[("source", seed)] = ("first", source, MODEL)
            wanted[("source shuffled", seed)] = ("first", {**source, **control}, MODEL)
            continue
        given = {"pretrained": runs.get(*_key(options, "source", seed))["checkpoint"], "transfer": options.transfer}
        other = {**given, "pretrained": runs.get(*_key(options, "source shuffled", seed))["checkpoint"]}
        wanted[("from scratch", seed)] = ("second", second, MODEL)
        wanted[("zero-shot", seed)] = ("second", {**second, **given, "epochs": 0}, MODEL)
        wanted[("fine-tuned", seed)] = ("second", {**second, **given}, MODEL)
        wanted[("fine-tuned from shuffled", seed)] = ("second", {**second, **other}, MODEL)
        wanted[("Pop", seed)] = ("second", {"seed": seed, "data_path": settings["data_path"]}, "Pop")
    return {
        _key(options, row, seed): partial(
            train, f"{options.dataset}-{half}", own, files if model == MODEL else [], model
        )
        for (row, seed), (half, own, model) in wanted.items()
    }


def _key(options: argparse.Namespace, row: str, seed: int) -> tuple[Any, ...]:
    return (options.dataset, options.tower, options.transfer, options.epochs, options.source_epochs, row, seed)


def table(options: argparse.Namespace, runs: KeptRuns) -> str:
    """Means over seeds, and each seed's NDCG@10."""
    rows = [["on the second half", "NDCG@10", "Recall@10", "by seed", "seconds"]]
    for row in ROWS:
        entries = [entry for seed in options.seeds if (entry := runs.get(*_key(options, row, seed)))]
        scores = {name: [entry["test"][name] for entry in entries] for name in ("ndcg@10", "recall@10")}
        means = [f"{statistics.mean(values):.4f}" for values in scores.values()]
        seconds = statistics.mean(entry["seconds"] for entry in entries)
        rows.append([row, *means, " ".join(f"{value:.4f}" for value in scores["ndcg@10"]), f"{seconds:.0f}"])
    return markdown_table(rows)


def main() -> None:
    """Reads the options, makes the halves, runs, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--tower", choices=list(CONTROL), default="image")
    parser.add_argument("--epochs", type=int, default=4, help="on the second half (default: %(default)s)")
    parser.add_argument("--source_epochs", type=int, help="on the first half (default: as the dataset's YAML says)")
    parser.add_argument("--transfer", default="all", help="encoder, item_tower or all (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--results", type=Path, default=Path("result/transfer.jsonl"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time (default: %(default)s)")
    options, rest = parser.parse_known_args()
    settings = parse_settings(rest)
    folder, out = Path(settings.get("data_path", "dataset_atomic")), Path("result/transfer")
    halves(folder, options.dataset, out)
    settings["data_path"] = str(out)
    settings.setdefault("images", str(folder / options.dataset / "images.lmdb"))
    settings.setdefault("cache_dir", str(folder / options.dataset / "cache"))
    began = time.perf_counter()
    runs = KeptRuns(options.results, ("dataset", "tower", "transfer", "epochs", "source_epochs", "row", "seed"))
    for stage in (0, 1):
        run_missing(plan(options, settings, runs, stage), runs, options.jobs)
    print(table(options, runs))
    print(f"{(time.perf_counter() - began) / 60:.1f} minutes")


if __name__ == "__main__":
    main()

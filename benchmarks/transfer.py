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
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recbole_pixel.commands.train import parse_settings
from recbole_pixel.properties_path import properties_dir
from recbole_pixel.report.kept_runs import KeptRuns
from recbole_pixel.report.runs import Outcome, Run, plan_job, run_jobs
from recbole_pixel.result_table import markdown_table

MODEL, SPLIT = "PixelSASRec", 1
CONTROL = {"image": "shuffle_images", "text": "shuffle_texts", "image_text": "shuffle_images"}


def halves(folder: Path, name: str, out: Path) -> None:
    """Writes the datasets NAME-first and NAME-second, of other users and other items, into ``out``."""
    table = pl.read_csv(folder / name / f"{name}.inter", separator="\t", infer_schema=False, quote_char=None)
    user, item = (next(column for column in table.columns if column.startswith(field)) for field in ("user", "item"))
    rng = np.random.default_rng(SPLIT)
    first = {column: _half(table[column].unique(maintain_order=True).to_numpy(), rng) for column in (user, item)}
    for half, is_first in (("first", True), ("second", False)):
        is_in = [pl.col(column).is_in(first[column]) == is_first for column in (user, item)]
        path = out / f"{name}-{half}" / f"{name}-{half}.inter"
        _write(path, table.filter(*is_in).write_csv(separator="\t", quote_style="never").encode())
        items = folder / name / f"{name}.item"
        if items.is_file():
            _write(path.with_suffix(".item"), items.read_bytes())


def _half(tokens: np.ndarray, rng: np.random.Generator) -> list[str]:
    return list(rng.permutation(tokens)[: len(tokens) // 2])


def _write(path: Path, content: bytes) -> None:
    """Leaves a file as it is that holds this already: what was made of it is still of use."""
    if not path.is_file() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def sources(options: argparse.Namespace, settings: dict[str, Any]) -> list[Run]:
    """The runs on the first half."""
    own = {"item_tower": options.tower, **settings}
    own |= {"epochs": options.source_epochs, "stopping_step": options.source_epochs} if options.source_epochs else {}
    control = {CONTROL[options.tower]: True}
    return [
        Run(label, MODEL, seed, {**own, **more, "seed": seed})
        for seed in options.seeds
        for label, more in (("source", {}), ("shuffled source", control))
    ]


def targets(options: argparse.Namespace, settings: dict[str, Any], made: Outcome) -> list[Run]:
    """The runs on the second half, from scratch and from those on the first."""
    runs = []
    weights = {(run.label, run.seed): entry["checkpoint"] for run, entry in made.kept}
    for seed in options.seeds:
        own = {"item_tower": options.tower, **settings, "epochs": options.epochs, "stopping_step": options.epochs}
        given = {"pretrained": weights["source", seed], "transfer": options.transfer}
        other = {**given, "pretrained": weights["shuffled source", seed]}
        of_rows = {"from scratch": {}, "zero-shot": {**given, "epochs": 0}, "fine-tuned": given}
        for label, more in {**of_rows, "fine-tuned from shuffled": other}.items():
            runs.append(Run(label, MODEL, seed, {**own, **more, "seed": seed}))
        runs.append(Run("Pop", "Pop", seed, {"data_path": settings["data_path"], "seed": seed}))
    return runs


def made_of(options: argparse.Namespace, planned: list[Run], half: str, runs: KeptRuns) -> Outcome:
    """Makes what is not kept yet of the runs on a half, under the settings of the whole dataset."""
    files = [str(path) for path in [properties_dir() / "dataset" / f"{options.dataset}.yaml"] if path.is_file()]
    return run_jobs([plan_job(run, f"{options.dataset}-{half}", files) for run in planned], runs, options.jobs, ())


def table(made: Outcome) -> str:
    """Means over seeds, and each seed's NDCG@10."""
    rows = [["on the second half", "NDCG@10", "Recall@10", "by seed", "seconds"]]
    for label, entries in made.by_label().items():
        scores = {name: [entry["test"][name] for entry in entries] for name in ("ndcg@10", "recall@10")}
        means = [f"{statistics.mean(values):.4f}" for values in scores.values()]
        seconds = statistics.mean(entry["seconds"] for entry in entries)
        rows.append([label, *means, " ".join(f"{value:.4f}" for value in scores["ndcg@10"]), f"{seconds:.0f}"])
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
    runs = KeptRuns(options.results, ("key",))
    first = made_of(options, sources(options, settings), "first", runs)
    print(table(made_of(options, targets(options, settings, first), "second", runs)))
    print(f"{(time.perf_counter() - began) / 60:.1f} minutes")


if __name__ == "__main__":
    main()

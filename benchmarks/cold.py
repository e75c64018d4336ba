"""Claim: pictures tell something of items that no user has consumed yet; shuffled pictures and ids do not.

Holds a tenth of the items out of all training rows, by several fixed splits, and ranks every occurrence of them: among
all items and among the cold ones. Real pictures, the same pictures dealt out at random, and the ID twin, on the same
splits; seed and split are the same number. Results are kept, so that an interrupted run goes on.

    python benchmarks/cold.py --dataset ml-100k-covers [--splits 1 2 3 4 5] [--results FILE] [--key=value ...]
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from recbole_pixel.commands.train import parse_settings
from recbole_pixel.report.kept_runs import KeptRuns
from recbole_pixel.result_table import markdown_table

RUNS: dict[str, dict[str, Any]] = {
    "pictures": {"item_tower": "image"},
    "pictures shuffled": {"item_tower": "image", "shuffle_images": True},
    "ID twin": {"item_tower": "id"},
}


def kept(options: argparse.Namespace) -> KeptRuns:
    """What has been run, by dataset, kind and split."""
    return KeptRuns(options.results, ("dataset", "run", "split"))


def run_all(options: argparse.Namespace, settings: dict[str, Any]) -> None:
    """Runs what is not among the results yet."""
    from recbole_pixel.quick_start import run

    runs = kept(options)
    shared = {"cold_items": 0.1, "show_progress": False, "state": "ERROR", **settings}
    for split in options.splits:
        for name in options.runs:

            def make(name: str = name, split: int = split) -> dict[str, Any]:
                result = run("PixelSASRec", options.dataset, settings={"seed": split, **shared, **RUNS[name]})
                return {key: result[key] for key in ("cold", "test")}

            runs.run((options.dataset, name, split), make)


def table(options: argparse.Namespace) -> str:
    """Mean HR@10 over splits, beside chance; each split in brackets."""
    runs = kept(options)
    rows = [["run", "HR@10 among cold", "x chance", "by split", "HR@10 among all", "warm NDCG@10"]]
    for name in options.runs:
        entries = [entry for split in options.splits if (entry := runs.get(options.dataset, name, split))]
        if not entries:
            continue
        cold = [entry["cold"]["cold"]["hit@10"] for entry in entries]
        ratio = [entry["cold"]["cold"]["hit@10"] / entry["cold"]["cold"]["chance"] for entry in entries]
        among_all = [entry["cold"]["all"]["hit@10"] for entry in entries]
        warm = [entry["test"]["ndcg@10"] for entry in entries]
        rows.append(
            [
                name,
                f"{statistics.mean(cold):.3f}",
                f"{statistics.mean(ratio):.2f}",
                " ".join(f"{value:.3f}" for value in cold),
                f"{statistics.mean(among_all):.4f}",
                f"{statistics.mean(warm):.4f}",
            ]
        )
    return markdown_table(rows)


def main() -> None:
    """Reads the options, runs, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--splits", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--runs", nargs="+", choices=list(RUNS), default=list(RUNS))
    parser.add_argument("--results", type=Path, default=Path("result/cold.jsonl"))
    options, rest = parser.parse_known_args()
    run_all(options, parse_settings(rest))
    print(table(options))


if __name__ == "__main__":
    main()

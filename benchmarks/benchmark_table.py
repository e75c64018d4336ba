"""Claim: each of PixelRec's nine recommenders runs here with pictures and with ids, by one command, on two CPU cores.

Prints the table of models by item towers: NDCG@10 and Recall@10 on the test split, seconds per epoch; popularity and
the repetition of the last item beside it. With `--towers id image shuffled` it adds each image model's control, the
same pictures dealt out at random. Results are kept, so that an interrupted run goes on; several seeds are averaged.
As many runs go side by side as there are cores (`--jobs`), each with its share of them: threads of one run wait for one
another, runs do not.

    python benchmarks/benchmark_table.py --dataset ml-100k-posters [--models PixelSASRec ...] [--towers id image]
        [--seeds 1 2 3] [--results FILE] [--jobs N] [--key=value ...]

How long each trains is for the dataset's YAML to say.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

from recbole_pixel.commands.train import parse_settings
from recbole_pixel.report.kept_runs import KeptRuns
from recbole_pixel.report.pool import run_missing
from recbole_pixel.result_table import markdown_table

MODELS = (
    "PixelMF", "PixelFM", "PixelDSSM", "PixelSRGNN", "PixelGRU4Rec", "PixelBERT4Rec", "PixelNextItNet", "PixelSASRec",
    "PixelLightSANs",
)  # fmt: skip
BASELINES = ("Pop", "RepeatLast")
TOWERS: dict[str, dict[str, Any]] = {
    "id": {"item_tower": "id"},
    "image": {"item_tower": "image"},
    "shuffled": {"item_tower": "image", "shuffle_images": True},
}
KEPT = ("test", "best_valid", "epochs", "seconds", "seconds_per_epoch", "pictures_per_epoch", "parameters")


def run_one(key: tuple[str, str, str, int], settings: dict[str, Any]) -> dict[str, Any]:
    """One run of a dataset, model, tower and seed, in the process that it is called in."""
    from recbole_pixel.quick_start import run

    dataset, model, tower, seed = key
    chosen = {"seed": seed, "show_progress": False, "state": "ERROR", **TOWERS.get(tower, {}), **settings}
    result = run(model, dataset, settings=chosen)
    return {name: result[name] for name in KEPT}


def run_all(options: argparse.Namespace, settings: dict[str, Any]) -> KeptRuns:
    """Runs what is not among the results yet, images first: they take longest."""
    runs = KeptRuns(options.results, ("dataset", "model", "tower", "seed"))
    towers = sorted(options.towers, key=lambda tower: tower == "id")
    wanted = [(model, tower) for tower in towers for model in reversed(options.models)]
    keys = [
        (options.dataset, model, tower, seed)
        for seed in options.seeds
        for model, tower in [*wanted, *((model, "-") for model in BASELINES)]
    ]
    run_missing({key: partial(run_one, key, settings) for key in keys}, runs, options.jobs)
    return runs


def table(runs: KeptRuns, options: argparse.Namespace) -> str:
    """One line per model: NDCG@10, Recall@10 and seconds per epoch of each tower, means over seeds."""
    head = [f"{tower} {column}" for tower in options.towers for column in ("NDCG@10", "Recall@10", "s/epoch")]
    rows = [["model", *head]]
    for model in (*options.models, *BASELINES):
        towers = ("-",) if model in BASELINES else options.towers
        cells = [cell for tower in towers for cell in _cells(runs, options, model, tower)]
        rows.append([model, *cells, *[""] * (len(head) - len(cells))])
    return markdown_table(rows)


def _cells(runs: KeptRuns, options: argparse.Namespace, model: str, tower: str) -> list[str]:
    entries = [entry for seed in options.seeds if (entry := runs.get(options.dataset, model, tower, seed))]
    if not entries:
        return ["not run", "", ""]
    scores = {name: [entry["test"][name] for entry in entries] for name in ("ndcg@10", "recall@10")}
    spread = f" ± {statistics.stdev(scores['ndcg@10']):.4f}" if len(entries) > 1 else ""
    seconds = statistics.mean(entry["seconds_per_epoch"] for entry in entries)
    return [
        f"{statistics.mean(scores['ndcg@10']):.4f}{spread}",
        f"{statistics.mean(scores['recall@10']):.4f}",
        "" if tower == "-" else f"{seconds:.1f}",
    ]


def main() -> None:
    """Reads the options, runs, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--towers", nargs="+", choices=list(TOWERS), default=["id", "image"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--results", type=Path, default=Path("result/benchmark_table.jsonl"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time (default: %(default)s)")
    options, rest = parser.parse_known_args()
    began = time.perf_counter()
    runs = run_all(options, parse_settings(rest))
    print(table(runs, options))
    print(f"{(time.perf_counter() - began) / 60:.1f} minutes")


if __name__ == "__main__":
    main()

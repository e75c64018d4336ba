"""Claim: what a model learnt on other users and other items helps: at equal epochs it ranks better than from scratch.

Deals a dataset's users and its items out into two halves each, by chance: the first dataset is the first half of the
users with the first half of the items, the second one the others. A model is trained on the first; on the second it is
evaluated as it is (zero-shot), trained on from there (fine-tuned), and trained from scratch for as many epochs. The
control is fine-tuned from a run whose pictures or texts were dealt out at random: what it carries over is no knowledge
of items. Several splits, each dealt out by its number, which is the runs' seed too; differences are paired by split,
with the 95% t interval over them. Results are kept, so that an interrupted run goes on.

    python benchmarks/transfer.py --dataset ml-100k-covers [--tower image] [--epochs 1 2 4 8] [--source_epochs N]
        [--transfer encoder all] [--splits 1 2 3 4 5] [--results FILE] [--jobs N] [--config_files FILE,...]
        [--key=value ...]
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
from recbole_pixel.report.cold_intervals import t_interval
from recbole_pixel.report.kept_runs import KeptRuns
from recbole_pixel.report.runs import Outcome, Run, plan_job, run_jobs
from recbole_pixel.result_table import markdown_table

MODEL = "PixelSASRec"
SCRATCH, TUNED, SHUFFLED = "from scratch", "fine-tuned, {}", "fine-tuned from shuffled, {}"
CONTROL = {"image": "shuffle_images", "text": "shuffle_texts", "image_text": "shuffle_images"}


def halves(folder: Path, name: str, out: Path, split: int) -> None:
    """Writes the datasets NAME-SPLIT-first and NAME-SPLIT-second, of other users and other items, into ``out``."""
    table = pl.read_csv(folder / name / f"{name}.inter", separator="\t", infer_schema=False, quote_char=None)
    user, item = (next(column for column in table.columns if column.startswith(field)) for field in ("user", "item"))
    rng = np.random.default_rng(split)
    first = {column: _half(table[column].unique(maintain_order=True).to_numpy(), rng) for column in (user, item)}
    for half, is_first in (("first", True), ("second", False)):
        is_in = [pl.col(column).is_in(first[column]) == is_first for column in (user, item)]
        path = out / half_name(name, split, half) / f"{half_name(name, split, half)}.inter"
        _write(path, table.filter(*is_in).write_csv(separator="\t", quote_style="never").encode())
        items = folder / name / f"{name}.item"
        if items.is_file():
            _write(path.with_suffix(".item"), items.read_bytes())


def half_name(name: str, split: int, half: str) -> str:
    """Of a half's dataset."""
    return f"{name}-{split}-{half}"


def _half(tokens: np.ndarray, rng: np.random.Generator) -> list[str]:
    return list(rng.permutation(tokens)[: len(tokens) // 2])


def _write(path: Path, content: bytes) -> None:
    """Leaves a file as it is that holds this already: what was made of it is still of use."""
    if not path.is_file() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def sources(options: argparse.Namespace, settings: dict[str, Any], split: int) -> list[Run]:
    """The runs on the first half."""
    own = {"item_tower": options.tower, **settings, "seed": split}
    own |= {"epochs": options.source_epochs, "stopping_step": options.source_epochs} if options.source_epochs else {}
    shuffled = {CONTROL[options.tower]: True}
    return [Run("source", MODEL, split, own), Run("shuffled source", MODEL, split, {**own, **shuffled})]


def targets(options: argparse.Namespace, settings: dict[str, Any], split: int, made: Outcome) -> list[Run]:
    """The runs on the second half, from scratch and from those on the first."""
    weights = {run.label: entry["checkpoint"] for run, entry in made.kept}
    own = {"item_tower": options.tower, **settings, "seed": split}
    given = {"pretrained": weights["source"]}
    starts: dict[str, dict[str, Any]] = {SCRATCH: {}}
    for transfer in options.transfer:
        starts[TUNED.format(transfer)] = {**given, "transfer": transfer}
    control = {"pretrained": weights["shuffled source"], "transfer": options.transfer[0]}
    starts[SHUFFLED.format(options.transfer[0])] = control
    runs = [
        Run("Pop", "Pop", split, {"data_path": settings["data_path"], "seed": split}),
        Run("zero-shot", MODEL, split, {**own, **given, "transfer": "all", "epochs": 0}),
    ]
    for epochs in options.epochs:
        length = {"epochs": epochs, "stopping_step": epochs}
        runs += [
            Run(label_of(start, epochs), MODEL, split, {**own, **more, **length}) for start, more in starts.items()
        ]
    return runs


def label_of(start: str, epochs: int) -> str:
    """Of a row: where its runs start, and for how long they are trained."""
    return f"{start}, {epochs} epochs"


def made_of(options: argparse.Namespace, planned: list[tuple[Run, str]], runs: KeptRuns) -> Outcome:
    """Makes what is not kept yet of runs on datasets, under the settings of the whole dataset."""
    files = [str(path) for path in [properties_dir() / "dataset" / f"{options.dataset}.yaml"] if path.is_file()]
    files += options.config_files.split(",") if options.config_files else []
    return run_jobs([plan_job(run, name, files) for run, name in planned], runs, options.jobs, ())


def table(scores: dict[str, dict[int, float]], seconds: dict[str, float]) -> str:
    """A row for each kind of run: NDCG@10, its mean over the splits and in each."""
    rows = [["on the second half", "NDCG@10", "by split", "seconds"]]
    for label, own in scores.items():
        by_split = " ".join(f"{value:.4f}" for value in own.values())
        rows.append([label, f"{statistics.mean(own.values()):.4f}", by_split, f"{seconds[label]:.0f}"])
    return markdown_table(rows)


def differences(scores: dict[str, dict[int, float]], transfers: list[str], budgets: list[int]) -> str:
    """What a start gains over from scratch, and over the control, at equal epochs; paired by split."""
    rows = [["fine-tuned", "less", "difference", "95% over splits", "splits in which it is better"]]
    compared = [(transfer, SCRATCH) for transfer in transfers]
    compared.insert(1, (transfers[0], SHUFFLED.format(transfers[0])))
    for epochs in budgets:
        for transfer, reference in compared:
            label, other = label_of(TUNED.format(transfer), epochs), label_of(reference, epochs)
            gained = [value - scores[other][split] for split, value in scores[label].items()]
            _, low, high = t_interval(gained)
            interval = "" if low is None else f"{low:+.4f} to {high:+.4f}"
            n_better = f"{sum(gain > 0 for gain in gained)} of {len(gained)}"
            rows.append([label, other, f"{statistics.mean(gained):+.4f}", interval, n_better])
    return markdown_table(rows)


def measure(options: argparse.Namespace, settings: dict[str, Any], folder: Path) -> str:
    """Makes the runs that are not kept yet; returns the tables."""
    out, name = Path("result/transfer"), options.dataset
    settings = {
        "images": str(folder / name / "images.lmdb"),
        "cache_dir": str(folder / name / "cache"),
        **settings,
        "data_path": str(out),
    }
    runs = KeptRuns(options.results, ("key",))
    for split in options.splits:
        halves(folder, name, out, split)
    first = [
        (run, half_name(name, run.seed, "first"))
        for split in options.splits
        for run in sources(options, settings, split)
    ]
    made = made_of(options, first, runs)
    second = []
    for split in options.splits:
        own = Outcome([(run, entry) for run, entry in made.kept if run.seed == split], [])
        second += [(run, half_name(name, split, "second")) for run in targets(options, settings, split, own)]
    scores: dict[str, dict[int, float]] = {}
    seconds: dict[str, list[float]] = {}
    for run, entry in made_of(options, second, runs).kept:
        scores.setdefault(run.label, {})[run.seed] = entry["test"]["ndcg@10"]
        seconds.setdefault(run.label, []).append(entry["seconds"])
    mean_seconds = {label: statistics.mean(own) for label, own in seconds.items()}
    return f"{table(scores, mean_seconds)}\n{differences(scores, options.transfer, options.epochs)}"


def main() -> None:
    """Reads the options, prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--tower", choices=list(CONTROL), default="image")
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 2, 4, 8], help="on the second half")
    parser.add_argument("--source_epochs", type=int, help="on the first half (default: as the dataset's YAML says)")
    parser.add_argument("--transfer", nargs="+", default=["encoder", "all"], help="the first has a control, too")
    parser.add_argument("--splits", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--config_files", help="of all runs, behind the dataset's own")
    parser.add_argument("--results", type=Path, default=Path("result/transfer.jsonl"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time (default: %(default)s)")
    options, rest = parser.parse_known_args()
    settings = parse_settings(rest)
    began = time.perf_counter()
    print(measure(options, settings, Path(settings.get("data_path", "dataset_atomic"))))
    print(f"{(time.perf_counter() - began) / 60:.1f} minutes")


if __name__ == "__main__":
    main()

"""``recbole-pixel compare``: models beside each other, over seeds, with tests of what differs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_pixel.commands.run_options import add_data_options, add_jobs_option, check_jobs


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "compare",
        help="models over seeds, with significance tests, as Markdown, LaTeX and CSV",
        description="Trains each model with each seed on one split, and writes a table with means, deviations and "
        "paired tests over users. Results are kept: the same command goes on where it was interrupted, and a changed "
        "setting or dataset is run anew. A model is [LABEL=]MODEL[:TOWER[:shuffled]][:key=value ...]. Any setting of "
        "all: --key=value.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--models", "-m", required=True, metavar="A,B:id,C", help="PixelSASRec,PixelSASRec:id,SASRec,Pop"
    )
    add_data_options(parser)
    parser.add_argument("--seeds", default="1,2,3", metavar="1,2,3", help="of each model's runs (default: %(default)s)")
    parser.add_argument("--metric", help="what the best is best in (default: valid_metric, ndcg@10)")
    parser.add_argument("--reference", help="the model that others are tested against, or best (default: the first)")
    parser.add_argument("--test", choices=("t", "wilcoxon"), default="t", help="what † goes by (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="folder of runs and tables (default: result/compare/DATASET)")
    add_jobs_option(parser)
    parser.set_defaults(func=run, takes_settings=True)


def run(namespace: argparse.Namespace) -> int:
    """Runs what is missing, writes and prints the table: 0, or 1 where a run failed."""
    from recbole_pixel.commands.train import parse_settings
    from recbole_pixel.report.entries import parse_entries
    from recbole_pixel.report.runs import Run, parse_seeds, plan_jobs

    check_jobs(namespace)
    entries, seeds = parse_entries(namespace.models), parse_seeds(namespace.seeds)
    shared = parse_settings(namespace.settings)
    for own in (shared, *(entry.settings for entry in entries)):
        if "seed" in own:
            raise ValueError(f"seed is set to {own['seed']}; here --seeds says which, for all models")
    planned = [
        Run(entry.label, entry.model, seed, {**shared, **entry.settings, "seed": seed})
        for seed in seeds
        for entry in entries
    ]
    jobs, refused = plan_jobs(planned, namespace.dataset, namespace.config_files.split(), (Exception,))
    labels = [entry.label for entry in entries]
    return _compare(namespace, labels, jobs, refused)


def _compare(namespace: argparse.Namespace, labels: Sequence[str], jobs: Sequence[Any], refused: list[Any]) -> int:
    from recbole_pixel.report.comparison import BEST, Comparison
    from recbole_pixel.report.comparison_files import write_comparison
    from recbole_pixel.report.runs import reason
    from recbole_pixel.report.tested import check_same_cases

    folder = namespace.out or Path("result") / "compare" / namespace.dataset
    metric, reference = (namespace.metric or jobs[0].metric).lower(), namespace.reference or labels[0]
    if reference not in (*labels, BEST):
        raise ValueError(f"--reference is {reference!r}; expected {BEST} or one of {', '.join(labels)}")
    outcome = _run(namespace, jobs, folder, metric)
    failed = [(run.label, run.seed, reason(error)) for run, error in [*refused, *outcome.failed]]
    rows = _rows(labels, outcome.kept, failed)
    check_same_cases({row.label: list(row.entries.values()) for row in rows}, folder)
    comparison = Comparison(rows, folder, metric, reference, namespace.test)
    print(f"\n{write_comparison(comparison, folder, f'Models on {namespace.dataset}')}\nwritten to {folder}")
    return 1 if failed else 0


def _run(namespace: argparse.Namespace, jobs: Sequence[Any], folder: Path, metric: str) -> Any:
    """Makes the runs that are not kept, saying how far it is."""
    from functools import partial

    from recbole_pixel.report.kept_runs import KeptRuns
    from recbole_pixel.report.runs import run_jobs
    from recbole_pixel.report.tested import kept_tested, make_tested

    keys = {job.key for job in jobs}

    def say(entry: Mapping[str, Any]) -> None:
        score = f"{metric} {entry['test'].get(metric, float('nan')):.4f}"
        done = f"{entry['seconds']:.0f} s ({n_kept()} of {len(keys)})"
        print(f"{entry['label']}, seed {entry['seed']}: {score}, {done}", flush=True)

    runs = kept_tested(folder, keys, say)

    def n_kept() -> int:
        return sum(runs.get(key) is not None for key in keys)

    if n_kept():
        print(f"{n_kept()} of {len(keys)} runs are kept in {runs.path}")
    try:
        return run_jobs(jobs, runs, namespace.jobs, (Exception,), partial(make_tested, folder=folder))
    except KeyboardInterrupt:
        runs = KeptRuns(runs.path, runs.keys, say)  # the last one may have been written and not counted yet
        print(f"\n{n_kept()} of {len(keys)} runs are kept in {runs.path}; the same command goes on with the others")
        raise


def _rows(labels: Sequence[str], kept: Sequence[Any], failed: Sequence[tuple[str, int, str]]) -> list[Any]:
    from recbole_pixel.report.comparison import Row

    return [
        Row(
            label,
            {run.seed: entry for run, entry in kept if run.label == label},
            {seed: why for name, seed, why in failed if name == label},
        )
        for label in labels
    ]

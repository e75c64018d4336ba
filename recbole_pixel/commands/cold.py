"""``recbole-pixel cold``: what a model knows of items that nobody consumed yet, over several splits."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from recbole_pixel.commands.run_options import add_data_options, add_jobs_option, check_jobs, row_labels


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "cold",
        help="items held out by several splits, each input beside its shuffled control, with intervals",
        description="Holds a tenth of the items (--cold_items) out of all training rows, by each of the splits, and "
        "ranks every occurrence of them, among the cold items and among all. Prints HR@10, chance, and how real inputs "
        "differ from shuffled ones, with 95% intervals over splits and over users. Results are kept: the same command "
        "goes on where it was interrupted. Rows are those of `recbole-pixel ablate`. Any setting: --key=value.",
        allow_abbrev=False,
    )
    parser.add_argument("--model", "-m", default="PixelSASRec", help="default: %(default)s")
    add_data_options(parser)
    parser.add_argument(
        "--splits", default="11,12,13,14,15", metavar="11,12", help="fixed in advance (default: %(default)s)"
    )
    parser.add_argument("--rows", metavar="A;B", help='such as "text;text shuffled" (default: id;image;image shuffled)')
    parser.add_argument("--out", type=Path, help="folder of runs and table (default: result/cold/DATASET)")
    add_jobs_option(parser)
    parser.set_defaults(func=run, takes_settings=True)


def run(namespace: argparse.Namespace) -> int:
    """Runs what is missing, writes and prints the table: 0, or 1 where a run failed."""
    from recbole_pixel.cli import EXPECTED
    from recbole_pixel.commands.train import parse_settings
    from recbole_pixel.report.cold_protocol import planned_splits
    from recbole_pixel.report.cold_tables import cold_report
    from recbole_pixel.report.runs import parse_numbers, plan_jobs, reason

    check_jobs(namespace)
    planned = planned_splits(
        namespace.model,
        parse_numbers(namespace.splits, "--splits", "split"),
        parse_settings(namespace.settings),
        row_labels(namespace),
    )
    jobs, refused = plan_jobs(planned, namespace.dataset, namespace.config_files.split(), EXPECTED)
    folder = namespace.out or Path("result") / "cold" / namespace.dataset
    outcome = _make(jobs, folder, namespace.jobs, EXPECTED)
    failed = [*refused, *outcome.failed]
    for one, error in failed:
        print(f"{one.label}, split {one.seed}: {reason(error)}")
    found = _by_row(dict.fromkeys(one.label for one in planned), outcome, folder)
    text = f"{namespace.model} on {namespace.dataset}, splits {namespace.splits}\n\n{cold_report(found)}\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text(text, encoding="utf-8")
    print(f"\n{text}\nwritten to {folder}")
    return 1 if failed else 0


def _make(jobs: Any, folder: Path, n_jobs: int, expected: Any) -> Any:
    from functools import partial

    from recbole_pixel.report.runs import run_jobs
    from recbole_pixel.report.tested import kept_tested, make_tested

    runs = kept_tested(folder, {job.key for job in jobs})
    return run_jobs(jobs, runs, n_jobs, expected, partial(make_tested, folder=folder))


def _by_row(labels: Any, outcome: Any, folder: Path) -> dict[str, list[Any]]:
    """Runs of each row in the order of the splits, with their cases."""
    from recbole_pixel.evaluation.cold_cases import read_cold_cases
    from recbole_pixel.report.cold_tables import SplitRun
    from recbole_pixel.report.tested import per_user_file

    found: dict[str, list[Any]] = {label: [] for label in labels}
    for one, entry in outcome.kept:
        found[one.label].append(SplitRun(one.seed, entry, read_cold_cases(per_user_file(folder, entry["key"]))))
    return found

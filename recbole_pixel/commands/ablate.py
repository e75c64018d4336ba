"""``recbole-pixel ablate``: what pictures and texts tell a model, each beside itself dealt out at random."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from recbole_pixel.commands.run_options import add_data_options, add_jobs_option, check_jobs, row_labels


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "ablate",
        help="text alone, pictures alone, both, and each shuffled, in one table",
        description="Trains a model on text alone, on pictures alone and on both, each also with its pictures or texts "
        "dealt out among the items at random, and prints all of it beside the ID twin and the trivial baselines. A "
        "model that ranks as well by shuffled pictures does not look at them. Results are kept: an interrupted table "
        "goes on where it stopped, and a changed setting or dataset is run anew. Any setting: --key=value.",
        allow_abbrev=False,
    )
    parser.add_argument("--model", "-m", default="PixelSASRec", help="default: %(default)s")
    add_data_options(parser)
    parser.add_argument("--seeds", default="1", metavar="1,2,3", help="each row is run with all (default: %(default)s)")
    parser.add_argument("--rows", metavar="A;B", help="only these rows, such as 'text;text shuffled'")
    parser.add_argument("--results", type=Path, help="where results are kept (default: result/ablate-DATASET.jsonl)")
    add_jobs_option(parser)
    parser.set_defaults(func=run, takes_settings=True)


def run(namespace: argparse.Namespace) -> int:
    """Runs what is missing, prints the table: 0, or 1 where a row could not be run."""
    from recbole_pixel.cli import EXPECTED
    from recbole_pixel.commands.train import parse_settings
    from recbole_pixel.report.ablation import ablation_table, planned_runs
    from recbole_pixel.report.kept_runs import KeptRuns
    from recbole_pixel.report.runs import parse_seeds, plan_jobs, reason, run_jobs

    check_jobs(namespace)
    planned = planned_runs(
        namespace.model, parse_seeds(namespace.seeds), parse_settings(namespace.settings), row_labels(namespace)
    )
    jobs, refused = plan_jobs(planned, namespace.dataset, namespace.config_files.split(), EXPECTED)
    runs = KeptRuns(namespace.results or Path("result") / f"ablate-{namespace.dataset}.jsonl", ("key",))
    outcome = run_jobs(jobs, runs, namespace.jobs, EXPECTED)
    failed = [*refused, *outcome.failed]
    for run_, error in failed:
        print(f"{run_.label}, seed {run_.seed}: {reason(error)}")
    found = {**{one.label: [] for one in planned}, **outcome.by_label()}
    print(f"\n{namespace.model} on {namespace.dataset}, seeds {namespace.seeds}\n\n{ablation_table(found)}\n")
    return 1 if failed else 0

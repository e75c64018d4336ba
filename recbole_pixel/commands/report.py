"""``recbole-pixel report``: the page of a run, written anew."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "report",
        help="the page of a run, written anew",
        description="Writes report.html of a run from its checkpoint, beside the runs that have come since. Every run "
        "of `recbole-pixel train` has written one already.",
        allow_abbrev=False,
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--run", type=Path, help="folder of a run: result/RUN")
    which.add_argument("--checkpoint", "-c", type=Path, help="of a run that has no such folder: it is evaluated")
    parser.add_argument(
        "--result_dir", type=Path, default=Path("result"), help="folder of the runs' folders (default: %(default)s)"
    )
    parser.add_argument("--trust", action="store_true", help="open RecBole's own checkpoints: pickles, which run code")
    parser.set_defaults(func=run, takes_settings=True)


def run(namespace: argparse.Namespace) -> int:
    """Writes the page, and prints its path: 0."""
    from recbole_pixel.commands.train import parse_settings
    from recbole_pixel.report.from_checkpoint import report_checkpoint, report_kept

    settings = parse_settings(namespace.settings)
    if namespace.run is not None:
        path = report_kept(namespace.run, settings, namespace.trust)
    else:
        path = report_checkpoint(namespace.checkpoint, settings, namespace.result_dir, namespace.trust)
    print(f"report: {path}")
    return 0

"""`recbole-pixel convert amazon`: Amazon reviews of the editions 2014, 2018 and 2023."""

from __future__ import annotations

import argparse
from pathlib import Path

from recbole_pixel.commands.convert_rules import add_rules, rules

EXAMPLE = (
    "example: recbole-pixel convert amazon --reviews Video_Games.jsonl.gz --meta meta_Video_Games.jsonl.gz "
    "--per-pair first --k-core 5 --name games"
)


def add_amazon(sources: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the source to those of `convert`."""
    parser = sources.add_parser("amazon", help="Amazon reviews, editions 2014, 2018 and 2023", epilog=EXAMPLE)
    parser.add_argument(
        "--reviews",
        type=Path,
        required=True,
        metavar="FILE",
        help="reviews (.json, .jsonl) or ratings (.csv), plain or gzipped",
    )
    parser.add_argument("--meta", type=Path, metavar="FILE", help="metadata of the items (.json, .jsonl), the same")
    parser.add_argument(
        "--edition",
        choices=("auto", "2014", "2018", "2023"),
        default="auto",
        help="of both files; auto tells it by their first lines (default: %(default)s)",
    )
    parser.add_argument(
        "--skip-broken-lines", action="store_true", help="count lines that hold no record instead of stopping there"
    )
    parser.add_argument("--all-items", action="store_true", help="keep items of --meta that have no interaction")
    add_rules(parser)
    group = parser.add_argument_group("output")
    group.add_argument("--name", required=True, help="name of the data set")
    group.add_argument("--out", type=Path, metavar="DIR", help="folder of data sets (default: dataset_atomic)")
    group.add_argument("--quiet", action="store_true", help="no progress bars")
    parser.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    """Converts, and prints the summary; returns the exit code."""
    # Imported here: the other commands need no polars to start.
    from recbole_pixel.convert import Options, amazon_source, convert, summarise
    from recbole_pixel.convert.dataset import DEFAULT_OUT
    from recbole_pixel.convert.dataset_folder import checked_name

    checked_name(arguments.name)  # before the minutes that reading takes
    options = Options(rules=rules(arguments), keep_unseen=arguments.all_items)
    out = arguments.out or DEFAULT_OUT
    with amazon_source(
        arguments.reviews,
        arguments.meta,
        folder=out,
        edition=arguments.edition,
        skip_broken_lines=arguments.skip_broken_lines,
        progress=not arguments.quiet,
    ) as source:
        print(summarise(convert(source, arguments.name, out, options)))
    return 0

"""Flags of `recbole-pixel convert` that say which interactions stay; the same for every source."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recbole_pixel.convert import RowRules


def add_rules(parser: argparse.ArgumentParser) -> None:
    """Adds the flags, in the order in which they apply."""
    group = parser.add_argument_group("interactions", "applied in this order; what each leaves out is counted")
    group.add_argument("--min-rating", type=float, metavar="R", help="leave out interactions rated lower")
    group.add_argument("--keep-duplicates", action="store_true", help="keep rows that repeat another exactly")
    group.add_argument(
        "--per-pair",
        choices=("all", "first", "last"),
        default="all",
        help="which of a user's interactions with one item to keep (default: %(default)s)",
    )
    group.add_argument(
        "--drop-consecutive-repeats",
        action="store_true",
        help="of a user's interactions with one item in a row keep the first",
    )
    group.add_argument(
        "--k-core",
        type=int,
        default=0,
        metavar="K",
        help="leave out users and items with fewer than K interactions, until there are none",
    )


def rules(arguments: argparse.Namespace) -> RowRules:
    """The rules that the flags ask for.

    Raises:
        ValueError: a flag's number makes no sense.
    """
    from recbole_pixel.convert import RowRules

    return RowRules(
        min_rating=arguments.min_rating,
        keep_duplicates=arguments.keep_duplicates,
        per_pair=arguments.per_pair,
        drop_consecutive_repeats=arguments.drop_consecutive_repeats,
        k_core=arguments.k_core,
    )

"""Which interactions stay: by rating, by repetition, by how often their user and their item occur."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Literal, get_args

import polars as pl

PerPair = Literal["all", "first", "last"]
"""Which of several interactions of one user with one item stay."""


@dataclass(frozen=True)
class RowRules:
    """What leaves rows out; applied in the order of the arguments, each to what the ones before it left.

    Args:
        min_rating: leave out lower ratings; None for no such rule.
        keep_duplicates: keep interactions that repeat another's user, item, time and rating.
        per_pair: of a user's interactions with one item keep `all`, the `first` or the `last`.
        drop_consecutive_repeats: of several interactions with one item in a row keep the first.
        k_core: leave out users and items with fewer interactions than this until none is left; 0 for no such rule.

    Raises:
        ValueError: a rule that no row, or every row, would meet by mistake.
    """

    min_rating: float | None = None
    keep_duplicates: bool = False
    per_pair: PerPair = "all"
    drop_consecutive_repeats: bool = False
    k_core: int = 0

    def __post_init__(self) -> None:
        if self.min_rating is not None and not math.isfinite(self.min_rating):
            raise ValueError(f"min_rating is {self.min_rating}, expected a finite number")
        if self.per_pair not in get_args(PerPair):
            raise ValueError(f"per_pair is {self.per_pair!r}, expected one of {', '.join(get_args(PerPair))}")
        if self.k_core < 0:
            raise ValueError(f"k_core is {self.k_core}, expected 0 for none, or the fewest interactions to keep")

    def of_window(self, rows: pl.DataFrame, dropped: Counter[str], has_time: bool) -> pl.DataFrame:
        """The rows that stay by every rule but the core, which needs to see all users.

        Args:
            rows: all interactions of some users, sorted by user and time.
            dropped: reason to number of rows, counted up; a rule that was asked for is there even if none fell to it.
            has_time: whether the times are the source's own: rows numbered by the file repeat no other exactly.
        """
        if self.min_rating is not None:
            rows = _counted(rows, _below(self.min_rating), f"rating below {self.min_rating:g}", dropped)
        if has_time and not self.keep_duplicates:
            rows = _without_duplicates(rows, dropped)
        if self.per_pair != "all":
            kept = rows.unique(["user", "item"], keep=self.per_pair, maintain_order=True)
            dropped[f"not the {self.per_pair} of its user and item"] += rows.height - kept.height
            rows = kept
        if self.drop_consecutive_repeats:
            rows = _counted(rows, _same_as_before("user", "item"), CONSECUTIVE, dropped)
        return rows


CONSECUTIVE = "consecutive repeat"


def _below(least: float) -> pl.Expr:
    return pl.col("rating").cast(pl.Float64) < least


def _same_as_before(*columns: str) -> pl.Expr:
    same = [pl.col(column) == pl.col(column).shift() for column in columns]
    return pl.all_horizontal(same).fill_null(False)


def _counted(rows: pl.DataFrame, leaves: pl.Expr, reason: str, dropped: Counter[str]) -> pl.DataFrame:
    kept = rows.filter(~leaves)
    dropped[reason] += rows.height - kept.height
    return kept


def _without_duplicates(rows: pl.DataFrame, dropped: Counter[str]) -> pl.DataFrame:
    """The rows without exact duplicates, looked for only among rows that share user and time: they are few."""
    same = _same_as_before("user", "time")
    numbered = rows.with_row_index("row").with_columns(tied=same | same.shift(-1, fill_value=False))
    tied = numbered.filter("tied").drop("tied")
    repeats = tied.filter(~pl.struct(rows.columns).is_first_distinct())["row"]
    if repeats.len():
        dropped["exact duplicate"] += repeats.len()
    return numbered.filter(~pl.col("row").is_in(repeats.implode())).drop("row", "tied")

"""Interactions: read, checked, sorted by user and time, written as NAME.inter.

Millions of rows pass through a bounded window: one streamed reading counts the rows of each user, then each range of
users that fits the window is read, sorted and appended. Memory follows the window and the number of users and items;
only the k-core keeps a few bytes for each row, see `k_core`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import polars as pl

from recbole_pixel.convert.atomic_text import PADDING, has_breaks, is_missing, is_reserved, is_too_long
from recbole_pixel.convert.k_core import in_core
from recbole_pixel.convert.row_rules import RowRules
from recbole_pixel.convert.source_table import SourceTable
from recbole_pixel.convert.times import (
    TimeKind,
    as_time,
    as_written,
    dates_are_whole,
    is_no_time,
    time_counts,
    time_kind,
)
from recbole_pixel.store.image_index import MAX_KEY_BYTES

ROWS_PER_PASS = 2_000_000
"""Rows sorted at once; about 150 bytes of memory each."""

MAX_PASSES = 16
"""Each pass reads the whole file: a file too large for so many passes is sorted in larger windows instead."""


@dataclass(frozen=True)
class InteractionColumns:
    """The source's names of what an interaction is made of; without `time`, the file order is the time."""

    user: str
    item: str
    time: str | None = None
    rating: str | None = None


@dataclass
class Interactions:
    """What was written.

    Attributes:
        n_read: rows in the source.
        n_rows: rows written.
        n_users: distinct users written.
        items: distinct item tokens written, in byte order.
        dropped: reason to number of rows left out; a reason that did not occur is absent.
        times: smallest and largest timestamp written.
    """

    n_read: int = 0
    n_rows: int = 0
    n_users: int = 0
    items: pl.Series = field(default_factory=lambda: pl.Series("item", [], dtype=pl.String))
    dropped: Counter[str] = field(default_factory=Counter)
    times: tuple[float, float] = (float("inf"), float("-inf"))


def write_interactions(
    table: SourceTable,
    columns: InteractionColumns,
    out: Path,
    *,
    rules: RowRules | None = None,
    rows_per_pass: int = ROWS_PER_PASS,
) -> Interactions:
    """Writes the .inter file, sorted by user and time; rows of the same time keep their file order.

    Args:
        table: where the interactions are.
        columns: which columns they are in.
        out: the file to write; replaced if it is there.
        rules: which rows are left out; those that repeat another exactly if not given.
        rows_per_pass: how many rows are sorted at once, unless that takes more than `MAX_PASSES`; a user with more is
            sorted alone.

    Raises:
        LookupError: a column is missing.
        ValueError: the file is empty or unreadable, no row of it can be used, or a rule needs ratings and has none.
    """
    rules = rules or RowRules()
    if rules.min_rating is not None and columns.rating is None:
        raise ValueError(
            f"ratings below {rules.min_rating:g} cannot be left out: {table.origin} has no column of ratings"
        )
    result = Interactions()
    with table.readable():
        windows = _windows(_source(table, columns), columns, rules, rows_per_pass, result)
        if rules.k_core:
            windows = in_core(windows, rules, result.dropped, out.parent)
        with out.open("wb") as file:
            file.write(_header(columns))
            for rows in windows:
                _append(rows, file, result)
    if result.n_read == 0:
        raise ValueError(f"{table.origin} holds no rows; expected interactions")
    if result.n_rows == 0:
        dropped, why = dict(result.dropped), _unread_time(_source(table, columns))
        raise ValueError(f"{table.origin} has no usable row among {result.n_read}; dropped: {dropped}{why}")
    return result


def _windows(
    source: pl.LazyFrame, columns: InteractionColumns, rules: RowRules, rows_per_pass: int, result: Interactions
) -> Iterator[pl.DataFrame]:
    """The usable rows of some users after the others', sorted by user and time, times as they are written."""
    kind, ranges = _survey(source, rows_per_pass)
    checked = _checked(source, kind)
    whole = kind != "date" or dates_are_whole(source, pl.col("time"))
    for users in ranges:
        rows = _usable(checked.filter(users).collect(engine="streaming"), result)
        rows = rows.sort("user", "time", maintain_order=True)
        rows = rules.of_window(rows, result.dropped, has_time=columns.time is not None)
        yield rows.with_columns(as_written(pl.col("time"), kind, whole))


def _source(table: SourceTable, columns: InteractionColumns) -> pl.LazyFrame:
    named = {"user": columns.user, "item": columns.item, "time": columns.time, "rating": columns.rating}
    wanted = {name: column for name, column in named.items() if column is not None}
    frame = table.text(*dict.fromkeys(wanted.values()))
    frame = frame.select(pl.col(column).alias(name) for name, column in wanted.items())
    # A null user would belong to no range of users, and its row would be dropped uncounted.
    frame = frame.with_columns(pl.col("user").fill_null(""))
    if columns.time is None:
        frame = frame.with_row_index("time")
    return frame.select("user", "item", pl.col("time").cast(pl.String), *(["rating"] if columns.rating else []))


def _unread_time(source: pl.LazyFrame) -> str:
    """What the first cell looks like that should be a time and is none, for a message; empty if there is none."""
    time = pl.col("time")
    cell = source.filter(~is_missing(time), is_no_time(time)).select("time").head(1).collect()
    if cell.is_empty():
        return ""
    return f"; {cell.item()!r} is neither a number nor a date such as 2021-06-01 12:30:00: rewrite that column"


def _survey(source: pl.LazyFrame, rows_per_pass: int) -> tuple[TimeKind, list[pl.Expr]]:
    """The kind of the times, and conditions on users that part the rows into windows, in byte order."""
    time = pl.col("time")
    counts = source.select(time_counts(pl.when(~is_missing(time)).then(time)))
    totals, users = pl.collect_all([counts, source.group_by("user").len().sort("user")], engine="streaming")
    window = (pl.col("len").cum_sum() - 1) // max(rows_per_pass, users["len"].sum() // MAX_PASSES)
    bounds = users.group_by(window.alias("window"), maintain_order=True).agg(pl.first("user"), last=pl.last("user"))
    if bounds.height == 1:
        return time_kind(totals.row(0, named=True)), [pl.lit(True)]
    ranges = [pl.col("user").is_between(pl.lit(first), pl.lit(last)) for _, first, last in bounds.iter_rows()]
    return time_kind(totals.row(0, named=True)), ranges


def _checked(source: pl.LazyFrame, kind: TimeKind) -> pl.LazyFrame:
    """The rows with their time as a number, and in `reason` why a row is left out: the first that holds."""
    checks = {
        "missing user": is_missing(pl.col("user")),
        "missing item": is_missing(pl.col("item")),
        "tab or line break in an ID": has_breaks(pl.col("user")) | has_breaks(pl.col("item")),
        f"ID that is {PADDING}, which RecBole pads with": is_reserved(pl.col("user")) | is_reserved(pl.col("item")),
        f"ID of more than {MAX_KEY_BYTES} bytes": is_too_long(pl.col("user")) | is_too_long(pl.col("item")),
        "missing time": is_missing(pl.col("time")),
        "unparsable time": as_time(pl.col("time"), kind).is_null(),
    }
    numbers = [as_time(pl.col("time"), kind)]
    if "rating" in source.collect_schema():
        rating = pl.col("rating").str.strip_chars()
        checks["missing rating"] = is_missing(rating)
        checks["unparsable rating"] = ~rating.cast(pl.Float64, strict=False).is_finite().fill_null(False)
        numbers.append(rating)
    reason = pl.lit(None, dtype=pl.String)
    for name, holds in reversed(checks.items()):
        reason = pl.when(holds).then(pl.lit(name)).otherwise(reason)
    return source.with_columns(*numbers, reason=reason)


def _usable(rows: pl.DataFrame, result: Interactions) -> pl.DataFrame:
    result.n_read += rows.height
    lost = rows.filter(pl.col("reason").is_not_null())
    result.dropped.update(lost["reason"].to_list())
    return rows.filter(pl.col("reason").is_null()).drop("reason")


def _append(rows: pl.DataFrame, file: BinaryIO, result: Interactions) -> None:
    if rows.is_empty():
        return
    rows.write_csv(file, separator="\t", include_header=False)
    result.n_rows += rows.height
    result.n_users += rows["user"].n_unique()
    result.items = pl.concat([result.items, rows["item"].unique()]).unique().sort()
    first, last = rows["time"].min(), rows["time"].max()
    result.times = (min(result.times[0], float(first)), max(result.times[1], float(last)))  # type: ignore[arg-type]


def _header(columns: InteractionColumns) -> bytes:
    rating = "\trating:float" if columns.rating is not None else ""
    return f"user_id:token\titem_id:token\ttimestamp:float{rating}\n".encode()

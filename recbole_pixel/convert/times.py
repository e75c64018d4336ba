"""Time columns: which kind they hold, and as a number that sorts exactly."""

from __future__ import annotations

from typing import Literal

import polars as pl

TimeKind = Literal["integer", "whole", "decimal", "date"]

_DATE_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")


def time_counts(text: pl.Expr) -> list[pl.Expr]:
    """Aggregations that `time_kind` decides by: `time_dates`, `time_integers`, `time_numbers`, `time_fractions`."""
    integer = text.str.strip_chars().cast(pl.Int64, strict=False)
    number = _finite(text)
    return [
        _microseconds(text.filter(number.is_null())).is_not_null().sum().alias("time_dates"),
        integer.is_not_null().sum().alias("time_integers"),
        number.is_not_null().sum().alias("time_numbers"),
        (number != number.floor()).sum().alias("time_fractions"),
    ]


def time_kind(counts: dict[str, int]) -> TimeKind:
    """What the column holds.

    Returns:
        `date` if more cells are dates than numbers; `decimal` if any number has a fraction; `whole` if some are
        spelt as fractions but are none (881250949.0, 8.8e8), as tools do that made floats of them; else `integer`.
    """
    if counts["time_numbers"] < counts["time_dates"]:
        return "date"
    if counts["time_fractions"]:
        return "decimal"
    return "integer" if counts["time_integers"] == counts["time_numbers"] else "whole"


def as_time(text: pl.Expr, kind: TimeKind) -> pl.Expr:
    """The time as a number; null where it cannot be read.

    Integers stay integers, because a float32 of a Unix time is off by up to a minute and one in milliseconds by a
    minute or two. Dates become microseconds since 1970, in UTC where they name no offset.
    """
    if kind == "date":
        return _microseconds(text)
    if kind == "decimal":
        return _finite(text)
    exact = text.str.strip_chars().cast(pl.Int64, strict=False)
    return exact if kind == "integer" else pl.coalesce(exact, _finite(text).cast(pl.Int64, strict=False))


def is_no_time(text: pl.Expr) -> pl.Expr:
    """Whether a cell is neither a finite number nor a date."""
    return pl.coalesce(_finite(text), _microseconds(text)).is_null()


def as_written(time: pl.Expr, kind: TimeKind, dates_are_whole: bool) -> pl.Expr:
    """The number as it is written: full precision; dates in seconds since 1970."""
    if kind != "date":
        return time
    return time // 1_000_000 if dates_are_whole else time / 1_000_000


def dates_are_whole(source: pl.LazyFrame, text: pl.Expr) -> bool:
    """Whether no date of the column has a fraction of a second."""
    return not source.select((_microseconds(text) % 1_000_000 != 0).any()).collect(engine="streaming").item()


def _finite(text: pl.Expr) -> pl.Expr:
    number = text.str.strip_chars().cast(pl.Float64, strict=False)
    return pl.when(number.is_finite()).then(number)


def _microseconds(text: pl.Expr) -> pl.Expr:
    dashed = text.str.strip_chars().str.replace(r"^(\d{4})/(\d{1,2})/(\d{1,2})", "$1-$2-$3")
    plain = dashed.str.replace(r"(\d)T(\d)", "$1 $2")
    zoned = plain.str.replace(r"\s*(Z|UTC)$", "+00:00").str.replace(r"([+-]\d\d):?(\d\d)$", "$1$2")
    with_offset = zoned.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%z", strict=False, time_unit="us", time_zone="UTC")
    without = [plain.str.to_datetime(shape, strict=False, time_unit="us") for shape in _DATE_FORMATS]
    return pl.coalesce(*without, with_offset.dt.replace_time_zone(None)).dt.timestamp("us")

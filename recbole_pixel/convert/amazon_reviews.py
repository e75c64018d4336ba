"""Amazon reviews of any edition, read once and put aside as a Parquet table of users, items, times and ratings.

Blocks of lines go through polars' parser. A block in which that finds anything odd is read line by line instead, which
is slower and knows the number of each line.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from recbole_pixel.convert.amazon_editions import EDITIONS, FIELDS, Reviews
from recbole_pixel.convert.amazon_records import Record, parse_record
from recbole_pixel.convert.atomic_text import has_breaks
from recbole_pixel.convert.line_blocks import Block, BrokenLines, read_blocks

SCHEMA = {"user": pl.String, "item": pl.String, "rating": pl.Float64, "time": pl.Int64}
"""Columns of the table, in the order of `FIELDS`."""


def put_reviews_aside(path: Path, reviews: Reviews, out: Path, broken: BrokenLines, progress: bool = False) -> None:
    """Writes the table.

    Args:
        path: the file of reviews, plain or gzipped.
        reviews: what it is.
        out: the Parquet file to write.
        broken: told of each line that holds no review.
        progress: show a bar.

    Raises:
        ValueError: a line is broken, and such lines are not skipped.
    """
    schema = pl.DataFrame(schema=SCHEMA).to_arrow().schema
    with pq.ParquetWriter(out, schema, compression="lz4") as writer:
        for block in read_blocks(path, broken, progress=progress):
            block = _below_header(block, reviews.header)
            frame = _at_once(block, reviews)
            if frame is None:
                frame = _line_by_line(block, reviews, broken)
            writer.write_table(frame.to_arrow().cast(schema))


def _below_header(block: Block, header: int) -> Block:
    """The lines of the block that come after the header's."""
    first, start = block.first, 0
    while first <= header:
        first, start = first + 1, block.data.find(b"\n", start) + 1 or len(block.data)
    return Block(first, block.data[start:])


def _at_once(block: Block, reviews: Reviews) -> pl.DataFrame | None:
    """The reviews of a block; None if anything is odd: a line that does not parse, is blank or lacks a value."""
    fields = FIELDS[reviews.edition]
    n_lines = block.data.count(b"\n") + (not block.data.endswith(b"\n"))
    try:
        if reviews.columns is None:
            if not _are_spelt_once(block.data, fields, n_lines):
                return None
            frame = pl.read_ndjson(block.data, schema=dict(zip(fields, SCHEMA.values(), strict=True)))
        else:
            if b'"' in block.data:
                return None
            cells = dict.fromkeys(reviews.columns, pl.String)
            frame = pl.read_csv(block.data, has_header=False, schema=cells, quote_char=None).select(fields)
    except pl.exceptions.PolarsError:
        return None
    frame = frame.select(
        pl.col(field).cast(dtype, strict=False).alias(name)
        for field, (name, dtype) in zip(fields, SCHEMA.items(), strict=True)
    )
    is_odd = frame.height != n_lines or any(frame.null_count().row(0)) or not frame["rating"].is_finite().all()
    # Of half a surrogate pair polars makes a zero byte.
    return None if is_odd or any(frame.select(has_breaks(pl.col("user", "item")).any()).row(0)) else frame


def _are_spelt_once(data: bytes, fields: Sequence[str], n_lines: int) -> bool:
    """Whether each line names each field once, and user and item as text.

    Of a field that stands twice polars takes the first and Python the last; of a list or a number that should be an ID
    polars makes text. Within a text the quotes around a field's name would be escaped.
    """
    names = [f'"{field}":'.encode() for field in fields]
    is_text = all(data.count(name + b'"') + data.count(name + b' "') == n_lines for name in names[:2])
    return is_text and all(data.count(name) == n_lines for name in names)


def _line_by_line(block: Block, reviews: Reviews, broken: BrokenLines) -> pl.DataFrame:
    rows = []
    for number, line in block.lines():
        try:
            rows.append(_row(_record(line, reviews), reviews.edition))
        except ValueError as error:
            broken.found(number, str(error))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _record(line: bytes, reviews: Reviews) -> Record:
    if reviews.columns is None:
        return parse_record(line)
    try:
        cells = next(csv.reader([line.decode("utf-8")]))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"no row of ratings ({error})") from None
    if len(cells) != len(reviews.columns):
        raise ValueError(f"{len(cells)} cells, expected {len(reviews.columns)}: {','.join(reviews.columns)}")
    return dict(zip(reviews.columns, cells, strict=True))


def _row(record: Record, edition: str) -> tuple[str | None, str | None, float | None, int | None]:
    """User, item, rating and time of a review; what is null or empty is None, and dropped and counted later.

    Raises:
        ValueError: it lacks one of them, or holds something else there.
    """
    user, item, rating, time = FIELDS[edition]
    absent = [field for field in FIELDS[edition] if field not in record]
    if absent:
        other = next((year for year in EDITIONS if record.keys() >= set(FIELDS[year])), None)
        also = f": it is of the {other} edition, and the file began as {edition}" if other else ""
        raise ValueError(f"no field {', '.join(absent)}{also}; found {', '.join(map(str, record))}")
    return _token(record[user], user), _token(record[item], item), _rating(record[rating], rating), _time(record[time])


def _token(value: Any, field: str) -> str | None:
    if value is None or isinstance(value, str):
        if value and any("\ud800" <= char <= "\udfff" for char in value):
            raise ValueError(f"{field} is {value!r}, which is not text")
        return value or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"{field} is {value!r}, expected text")


def _rating(value: Any, field: str) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{field} is {value!r}, expected a number")
    return number


def _time(value: Any) -> int | None:
    # Through int() first: a float cannot hold every integer.
    if isinstance(value, int) and not isinstance(value, bool):
        whole = value
    elif isinstance(value, str) and value.strip().removeprefix("-").isdecimal():
        whole = int(value)
    else:
        number = _rating(value, "the time")
        if number is None:
            return None
        whole = int(number)
    if not -(2**63) <= whole < 2**63:
        raise ValueError(f"the time is {value!r}, which no clock shows")
    return whole

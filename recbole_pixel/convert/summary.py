"""The lines a conversion ends with: what was written, what was not and why, and what to run next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import datetime, timezone

from recbole_pixel.convert.dataset import DEFAULT_OUT, Conversion
from recbole_pixel.convert.pictures import Pictures

ADDRESS_COLUMN = "image_url"
"""The column of NAME.item that `recbole-pixel images download` reads."""

_FIRST_TIME = 1e8
"""Smaller numbers count something else than seconds since 1970: days, steps, years."""

N_NAMED = 5
"""Items named in a list of more."""


def summarise(conversion: Conversion) -> str:
    """The report of a conversion, as text of several lines."""
    return "\n".join(_lines(conversion))


def _lines(conversion: Conversion) -> Iterator[str]:
    inter, items = conversion.interactions, conversion.items
    yield f"{conversion.path}: {inter.n_users:,} users, {len(items.tokens):,} items, {inter.n_rows:,} interactions"
    yield f"  time: {_span(conversion)}"
    yield f"  rows dropped: {sum(inter.dropped.values()):,} of {inter.n_read:,}{_reasons(inter.dropped)}"
    if items.n_without_row:
        yield f"  items that the items' table does not describe, kept with empty cells: {items.n_without_row:,}"
    for reason, count in items.notes.items():
        yield f"  items' table, left out: {count:,} {reason}"
    yield from _alike(items.tokens)
    yield from _picture_lines(conversion)
    yield from (f"  note: {line}" for line in conversion.source.notice)
    yield f"  files: {', '.join(path.name for path in sorted(conversion.path.iterdir()) if path.suffix in _SUFFIXES)}"
    yield f"next: {next_command(conversion)}"


_SUFFIXES = (".inter", ".item", ".lmdb")


def next_command(conversion: Conversion) -> str:
    """The command that trains on the new data set."""
    words = ["python", "run_recbole_pixel.py", "--model=PixelSASRec", f"--dataset={conversion.path.name}"]
    words += _data_path(conversion)
    if conversion.pictures is None:
        words.append("--item_tower=id")
    elif conversion.pictures.without_picture:
        words.append("--missing_image=mean")
    return shlex.join(words)


def _data_path(conversion: Conversion) -> list[str]:
    folder = conversion.path.parent
    return [] if folder == DEFAULT_OUT else [f"--data_path={folder}"]


def _picture_lines(conversion: Conversion) -> Iterator[str]:
    pictures: Pictures | None = conversion.pictures
    if pictures is None and conversion.items.filled.get(ADDRESS_COLUMN):
        download = f"recbole-pixel images download --dataset={conversion.path.name}".split()
        command = shlex.join([*download, *_data_path(conversion)])
        yield f"  pictures: {conversion.items.filled[ADDRESS_COLUMN]:,} items have an address; get them: {command}"
        return
    if pictures is None:
        yield "  pictures: none asked for; build them with `recbole-pixel images build`"
        return
    state = "written" if pictures.is_fresh else "already there and unchanged"
    yield f"  pictures: {pictures.n_stored:,} {state}"
    missing = pictures.without_picture
    if missing:
        named = ", ".join(missing[:N_NAMED]) + (", ..." if len(missing) > N_NAMED else "")
        yield f"  items without a picture: {len(missing):,} ({named})"
    if pictures.n_orphans:
        yield f"  pictures without an item, left out: {pictures.n_orphans:,}"
    yield from (f"  {line}" for line in pictures.lines)


def _alike(tokens: list[str]) -> Iterator[str]:
    """Items that a spreadsheet or a table of floats may have made of others: `1.0` beside `1`, ` 7` beside `7`."""
    known = set(tokens)
    pairs = [(token, bare) for token in tokens if (bare := token.strip().removesuffix(".0")) != token and bare in known]
    if pairs:
        yield (
            f"  note: {len(pairs):,} items are spelt as others are but for blanks or .0, e.g. {pairs[0][0]!r} and "
            f"{pairs[0][1]!r}; each is an item of its own"
        )


def _reasons(dropped: dict[str, int]) -> str:
    if not dropped:
        return ""
    return f" ({', '.join(f'{reason}: {count:,}' for reason, count in sorted(dropped.items()))})"


def _span(conversion: Conversion) -> str:
    if conversion.source.columns.time is None:
        return "the order of the rows in the file, since no time column was named; repeated rows are kept"
    first, last = conversion.interactions.times
    if first >= _FIRST_TIME and _scale(first) != _scale(last):
        return (
            f"{first:.15g} to {last:.15g}, as if {_unit(first)} and {_unit(last)} since 1970 were mixed; histories are "
            f"in the order of these numbers, so mend the column {conversion.source.columns.time!r} if they are"
        )
    dates = [_date(first), _date(last)]
    if None in dates:
        return f"{first:.15g} to {last:.15g}"
    return f"{dates[0]} to {dates[1]}, if its numbers are {_unit(last)} since 1970"


def _unit(time: float) -> str:
    return {1: "seconds", 1e3: "milliseconds", 1e6: "microseconds", 1e9: "nanoseconds"}[_scale(time)]


def _scale(time: float) -> float:
    # Seconds stay below 1e11 until the year 5138, milliseconds have been above it since 1973.
    return 1 if time < 1e11 else 1e3 if time < 1e14 else 1e6 if time < 1e17 else 1e9


def _date(time: float) -> str | None:
    if time < _FIRST_TIME:
        return None
    try:
        return datetime.fromtimestamp(time / _scale(time), tz=timezone.utc).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return None

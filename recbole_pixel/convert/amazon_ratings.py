"""Files of Amazon ratings, told apart by their header or by which cell looks like an item."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from recbole_pixel.convert.amazon_editions import AUTO, FIELDS, Reviews, expected, listed, refuse_other

_ITEM_ID = re.compile(r"B[0-9A-Z]{9}|[0-9]{9}[0-9X]")


def tell_ratings(path: Path, lines: Sequence[tuple[int, bytes]], edition: str) -> Reviews:
    """What a file of ratings is.

    Args:
        path: the file, for messages.
        lines: (number, text) of its first lines.
        edition: which it should be, or `auto`.

    Raises:
        ValueError: its lines are no ratings, are of another edition, or which cell is the item cannot be told.
    """
    try:
        rows = list(csv.reader(line.decode("utf-8", "replace") for _, line in lines))
    except csv.Error as error:
        raise ValueError(f"{path} holds neither records nor rows of ratings ({error}); {expected()}") from None
    names = tuple(cell.strip() for cell in rows[0])
    if set(FIELDS["2023"]) <= set(names):
        refuse_other(path, edition, "2023", f"line {lines[0][0]} names its columns {listed(names)}")
        return Reviews("2023", f"its header is {','.join(names)}", names, lines[0][0])
    if len(names) != 4 or not all(_is_number(cell) for cell in names[2:]):
        raise ValueError(
            f"{path}, line {lines[0][0]}: neither a record nor a row of ratings; {expected()}, or rows of "
            f"user,item,rating,timestamp (2014) or item,user,rating,timestamp (2018), found {','.join(names)!r}"
        )
    item_second = sum(_is_item(row, 1) and not _is_item(row, 0) for row in rows)
    item_first = sum(_is_item(row, 0) and not _is_item(row, 1) for row in rows)
    if item_first == item_second and edition == AUTO:
        raise ValueError(
            f"{path} has rows of four cells, but which of the first two is the item cannot be told, e.g. "
            f"{','.join(names)!r}; say it: --edition 2014 for user,item or --edition 2018 for item,user"
        )
    told = edition if item_first == item_second else "2018" if item_first > item_second else "2014"
    refuse_other(path, edition, told, f"it has rows like {','.join(names)!r}")
    user, item, rating, time = FIELDS[told]
    columns = (item, user, rating, time) if told == "2018" else (user, item, rating, time)
    return Reviews(told, f"its rows are {'item,user' if told == '2018' else 'user,item'},rating,timestamp", columns)


def _is_item(row: Sequence[str], position: int) -> bool:
    return len(row) > position and _ITEM_ID.fullmatch(row[position].strip()) is not None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True

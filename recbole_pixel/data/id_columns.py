"""The columns of users and items of an atomic file: RecBole numbers them, if they are tokens, from 1; 0 pads."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from recbole_pixel.data.atomic_faults import KINDS, AtomicFileError

PADDING = "[PAD]"
"""The token of id 0 in every field of RecBole's."""


def refuse_other_types(path: Path, ids: Collection[str], separator: str = "\t", encoding: str | None = None) -> None:
    """Refuses users or items that a header calls numbers or sequences.

    Args:
        path: of the file.
        ids: the fields of users and items, as far as they are loaded.
        separator: between fields.
        encoding: of the text; None for UTF-8.

    Raises:
        AtomicFileError: that is so.
    """
    with path.open(encoding=encoding or "utf-8", errors="replace") as stream:
        fields = stream.readline().rstrip("\r\n").split(separator)
    for field in fields:
        name, _, kind = field.partition(":")
        if name in ids and kind in KINDS and kind != "token":
            raise AtomicFileError(
                f"{path} cannot be read: line 1 gives {name!r} the type {kind!r}, and users and items are tokens, one "
                f"in a cell; write {name}:token in its place"
            )


def refuse_padding(path: Path, frame: pd.DataFrame, ids: Collection[str]) -> None:
    """Refuses a user or an item of the name that RecBole gives to id 0.

    Args:
        path: of the file.
        frame: what was read of it.
        ids: the fields of users and items.

    Raises:
        AtomicFileError: there is one.
    """
    for field in frame.columns.intersection(list(ids)):
        if _has_padding(frame[field]):
            raise AtomicFileError(
                f"{path} has {PADDING!r} in column {field!r}: RecBole pads with a token of this name, and would take "
                f"the one for the other; rename it, or leave its rows out"
            )


def _has_padding(column: pd.Series) -> bool:
    """Categories are compared as they lie: pandas would make a table of all of them to look one up."""
    is_coded = isinstance(column.dtype, pd.CategoricalDtype)
    tokens = pd.Series(column.cat.categories.array) if is_coded else column
    return bool((tokens == PADDING).any())

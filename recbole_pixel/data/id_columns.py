"""The columns of users and items of an atomic file: RecBole numbers them, if they are tokens, from 1; 0 pads."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from recbole_pixel.data.atomic_faults import KINDS, AtomicFileError


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

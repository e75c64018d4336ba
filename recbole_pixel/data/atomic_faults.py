"""What RecBole's reader of atomic files says of a broken one, in words that name the file, the line and the remedy.

``pandas.read_csv`` and RecBole's own parsing of the header raise errors such as `not enough values to unpack`.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TextIO

from recbole_pixel.table_faults import GZIP, fault_of, first_bytes

KINDS = ("token", "token_seq", "float", "float_seq")
LONGEST_CELL = 131_072
"""Characters: Python's csv module, which pandas reads atomic files with, takes no more."""

_BOM = b"\xef\xbb\xbf"


class AtomicFileError(ValueError):
    """An atomic file cannot be used as it is."""


@contextmanager
def named_faults(
    path: Path, separator: str = "\t", seq_separator: str = " ", encoding: str | None = None
) -> Iterator[None]:
    """Turns what reading a broken atomic file raises into an error that names the file and what is wrong with it.

    Args:
        path: of the file.
        separator: between fields.
        seq_separator: between the values of a sequence.
        encoding: of the text; None for UTF-8.

    Raises:
        AtomicFileError: reading it raised something.
    """
    try:
        codecs.lookup(encoding or "utf-8")
    except LookupError:
        raise AtomicFileError(f"{path}: no encoding is called {encoding!r}; set encoding to utf-8 or latin-1") from None
    try:
        yield
    except AtomicFileError:
        raise
    except (ValueError, LookupError) as error:
        why = " ".join(str(error).split())
        fault = atomic_fault(path, separator, seq_separator, encoding or "utf-8") or why
        raise AtomicFileError(f"{path} cannot be read: {fault}") from error


def atomic_fault(path: Path, separator: str = "\t", seq_separator: str = " ", encoding: str = "utf-8") -> str:
    """The first fault of an atomic file, with its line; empty if none is found."""
    with path.open("rb") as stream:
        if stream.read(len(GZIP)) == GZIP:
            return "it is gzipped, and RecBole reads plain text: gunzip it"
    head = first_bytes(path)
    if not head.strip():
        return "it is empty; expected a header line such as user_id:token, item_id:token, timestamp:float, and rows"
    if head.startswith(_BOM):
        return "it begins with a byte order mark, which RecBole takes for a part of the first name; take it away: " + (
            r"sed -i '1s/^\xef\xbb\xbf//' FILE"
        )
    if b"\n" not in head and b"\r" not in head and len(head) < 4096:
        return f"it holds nothing but {head[:80].decode(encoding, 'replace')!r}; expected a header line and rows"
    fields = head.split(b"\n", 1)[0].decode(encoding, "replace").rstrip("\r").split(separator)
    # What is no text at all has no header either.
    structural = fault_of(
        path, separator, numbers=_numbers(fields, seq_separator), encoding=encoding, longest_cell=LONGEST_CELL
    )
    return structural if structural and not structural.startswith("line ") else fault_of_header(fields) or structural


def fault_of_header(fields: list[str]) -> str:
    """What is wrong with the names in a header; empty if nothing is."""
    if fields == [""]:
        return "line 1 is blank, expected fields such as user_id:token between tabs"
    for field in fields:
        name, *kind = field.split(":")
        if len(kind) != 1:
            hint = next(
                (f"; are its cells parted by {other!r}? set field_separator" for other in ",;| " if other in field), ""
            )
            return f"line 1 names {field!r}, expected NAME:TYPE such as user_id:token between tabs{hint}"
        if kind[0] not in KINDS:
            return f"line 1 gives {name!r} the type {kind[0]!r}, expected one of {', '.join(KINDS)}"
    repeated = [name for name, n in Counter(field.split(":")[0] for field in fields).items() if n > 1]
    return f"line 1 names {repeated[0]!r} twice; rename one of them" if repeated else ""


def refuse_shifted(path: Path, separator: str = "\t", encoding: str | None = None) -> None:
    """Refuses a first row with more cells than the header.

    pandas takes the first cell of each row for the row's name then, and RecBole the users for items, without a word.

    Raises:
        AtomicFileError: that is so.
    """
    with path.open(encoding=encoding or "utf-8", newline="") as stream:
        try:
            header, first = islice(_rows(stream, separator), 2)
        except (csv.Error, ValueError):
            return  # pandas has the word
    if len(first) > len(header):
        raise AtomicFileError(
            f"{path} cannot be read: its first row has {len(first)} cells, and its header {len(header)}; RecBole would "
            f"shift every value by one column: name all columns, or take the others away"
        )


def _rows(stream: TextIO, separator: str) -> Iterator[list[str]]:
    lines = (re.split(separator, line.rstrip("\r\n")) for line in stream)
    rows = csv.reader(stream, delimiter=separator) if len(separator) == 1 else lines
    return (cells for cells in rows if len(cells) > 1 or "".join(cells).strip())


def _numbers(fields: list[str], seq_separator: str) -> dict[int, str | None]:
    separators = {"float": None, "float_seq": seq_separator}
    kinds = enumerate(field.split(":")[-1] for field in fields)
    return {position: separators[kind] for position, kind in kinds if kind in separators}

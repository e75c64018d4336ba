"""What is wrong with a file that should be a table of text, and on which line: looked for once a reader has given up.

Readers of large tables say that something is odd, seldom where. Here the file is read again, slowly, up to the first
line at fault; what comes out is part of a message.
"""

from __future__ import annotations

import csv
import gzip
import re
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from recbole_pixel.missing_words import MISSING_WORDS

MOST_BYTES = 1 << 30
"""How far a file is looked through."""

GZIP = b"\x1f\x8b"
"""How gzipped data begin."""

_ZSTD = b"\x28\xb5\x2f\xfd"
_HEAD = 4096
_N_SHOWN = 40

_UTF_16 = "it is UTF-16 text, expected UTF-8; convert it: iconv -f utf-16 -t utf-8 FILE > NEW"
_KINDS = (
    (b"\xff\xfe\x00\x00", "it is UTF-32 text, expected UTF-8; convert it: iconv -f utf-32 -t utf-8 FILE > NEW"),
    (b"\x00\x00\xfe\xff", "it is UTF-32 text, expected UTF-8; convert it: iconv -f utf-32 -t utf-8 FILE > NEW"),
    (b"\xff\xfe", _UTF_16),
    (b"\xfe\xff", _UTF_16),
    (b"PK\x03\x04", "it is a ZIP archive, as Excel's files are; unpack it, or export it as CSV in UTF-8"),
    (b"PAR1", "it is a Parquet file, which is read as one if its name ends in .parquet"),
    (b"\x89PNG", "it is a picture"),
    (b"\xff\xd8\xff", "it is a picture"),
    (b"%PDF", "it is a PDF document"),
    (b"SQLite format 3", "it is an SQLite database; export the table as CSV"),
    (b"\x80\x03", "it is a Python pickle, which is never opened; write the table as CSV or Parquet"),
    (b"\x80\x04", "it is a Python pickle, which is never opened; write the table as CSV or Parquet"),
    (b"\x80\x05", "it is a Python pickle, which is never opened; write the table as CSV or Parquet"),
)
_NO_FAULTS = {0: " ", 13: " "}  # Python's csv module refuses what the readers of tables take for text
_PAGE = re.compile(rb"\s*<(!doctype|html|head|body|\?xml)\b", re.IGNORECASE)


def kind_of(head: bytes) -> str:
    """What a file that begins with ``head`` is, if that is no table of text; empty otherwise."""
    for start, kind in _KINDS:
        if head.startswith(start):
            return kind
    if _PAGE.match(head.removeprefix(b"\xef\xbb\xbf")):
        return "it is a web page; the download was answered with a message, see what it says"
    if head and 4 * head.count(b"\0") > len(head):
        return _UTF_16.replace("utf-16 -t", f"utf-16{'be' if head[:1] == bytes(1) else 'le'} -t")
    if b"\r" in head.rstrip(b"\r") and b"\n" not in head:
        return "its lines end in lone carriage returns, expected line feeds; convert it: tr '\\r' '\\n' < FILE > NEW"
    return ""


def first_bytes(path: Path) -> bytes:
    """The beginning of a file, decompressed if it is gzipped.

    Raises:
        OSError: it cannot be opened.
    """
    with _opened(path) as stream:
        try:
            return stream.read(_HEAD)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            return b""


def fault_of(
    path: Path,
    separator: str = ",",
    quote: str | None = '"',
    *,
    numbers: Mapping[int, str | None] | None = None,
    encoding: str = "utf-8",
    longest_cell: int = sys.maxsize,
) -> str:
    """The first thing that is wrong with a table, with the number of its line; empty if nothing is found.

    Args:
        path: a text file with a header line, plain or gzipped.
        separator: between cells.
        quote: the quoting character; None if quotes are ordinary text.
        numbers: positions of columns that must hold numbers, and what separates those in a cell; None if it is one.
        encoding: of the text.
        longest_cell: characters that the reader takes in one cell.

    Raises:
        OSError: the file cannot be opened.
    """
    head = first_bytes(path)
    if head.startswith(_ZSTD):
        return ""
    if kind := kind_of(head):
        return kind
    search = _Search(encoding, quote)
    with _opened(path) as stream, _cells_of(longest_cell):
        try:
            fault = search.first(stream, separator, numbers or {}) or search.suspect
            while stream.read(1 << 20):  # damage may have made the fault
                pass
            return fault
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            return f"its compressed data are damaged about line {search.n_lines + 1} ({error}); download it again"


class _Search:
    """One reading of a file, line by line.

    Attributes:
        n_lines: lines read so far.
        suspect: the first line with an odd number of quotes or a zero byte, in words; empty if there is none.
    """

    def __init__(self, encoding: str, quote: str | None) -> None:
        self.encoding, self.quote = encoding, quote
        self.n_lines, self.suspect = 0, ""
        self._undecodable = ""

    def first(self, stream: BinaryIO, separator: str, numbers: Mapping[int, str | None]) -> str:
        """The first fault and its line, in words; empty if there is none."""
        if len(separator) != 1:  # a regular expression: what a cell is, only pandas knows
            for _ in self._texts(stream):
                pass
            return self._undecodable
        reader = csv.reader(
            self._texts(stream),
            delimiter=separator,
            quotechar=self.quote,
            quoting=csv.QUOTE_NONE if self.quote is None else csv.QUOTE_MINIMAL,
            strict=True,
        )
        header, begun = None, 1
        try:
            for cells in reader:
                if header is None:
                    header = cells
                    if not header:
                        return "line 1 is blank, expected the names of the columns"
                elif fault := _fault_of_row(cells, header, numbers):
                    return f"line {begun} {fault}"
                begun = reader.line_num + 1
        except csv.Error as error:
            return self._undecodable or _told(error, begun)
        return self._undecodable

    def _texts(self, stream: BinaryIO) -> Iterator[str]:
        size = 0
        for line in stream:
            self.n_lines, size = self.n_lines + 1, size + len(line)
            try:
                text = line.decode(self.encoding)
            except UnicodeDecodeError as error:
                self._undecodable = (
                    f"line {self.n_lines} is not {self.encoding.upper()} text: byte {error.start + 1} is "
                    f"0x{line[error.start]:02x}; if it is Latin-1, convert it: iconv -f latin1 -t utf-8 FILE > NEW"
                )
                return
            self.suspect = self.suspect or self._odd_in(text)
            text = text.removeprefix("\ufeff") if self.n_lines == 1 else text
            yield text.rstrip("\r\n").translate(_NO_FAULTS) + "\n"
            if size > MOST_BYTES:
                return

    def _odd_in(self, line: str) -> str:
        if self.quote and line.count(self.quote) % 2:
            return f"line {self.n_lines} has an unpaired quote: {_shown(line.strip())}"
        return f"line {self.n_lines} holds a zero byte" if "\0" in line else ""


def _fault_of_row(cells: list[str], header: list[str], numbers: Mapping[int, str | None]) -> str:
    if len(cells) > len(header):
        return f"has {len(cells)} cells, and the header {len(header)}"
    for position, between in numbers.items():
        if position < len(cells) and not all(
            map(_is_number, cells[position].split(between) if between else [cells[position]])
        ):
            return f"has {_shown(cells[position])} in column {header[position]!r}, expected a number"
    return ""


def _told(error: csv.Error, line: int) -> str:
    why = str(error)
    if "unexpected end" in why:
        return f"line {line} opens a quote that is never closed"
    if "expected after" in why:
        return f"line {line} has text behind a closing quote"
    if "larger than field limit" in why:
        return f"line {line} has a cell of more characters than the reader takes ({csv.field_size_limit():,})"
    return f"line {line}: {why}"


def _is_number(cell: str) -> bool:
    if cell.strip() in MISSING_WORDS:
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _shown(text: str) -> str:
    return repr(text if len(text) <= _N_SHOWN else f"{text[:_N_SHOWN]}...")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    with path.open("rb") as stream:
        if stream.read(2) != GZIP:
            stream.seek(0)
            yield stream
            return
        stream.seek(0)
        with gzip.GzipFile(fileobj=stream) as packed:
            yield packed  # type: ignore[misc]


@contextmanager
def _cells_of(longest: int) -> Iterator[None]:
    """Python's csv module takes cells of so many characters, for as long as the context lasts."""
    before = csv.field_size_limit(min(longest, sys.maxsize))
    try:
        yield
    finally:
        csv.field_size_limit(before)

"""Reads RecBole's ``.inter`` files with Arrow: tokens become integer codes block by block, no Python string is made.

Only what Arrow and RecBole read alike is read here. A file with anything else in it is refused, and RecBole's own
reader (pandas with ``engine="python"``) then has the word.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from pyarrow import csv

BLOCK = 1 << 24  # bytes parsed at a time
FEWEST_FOLDED = 1 << 22  # tokens of blocks that may wait, however few there are in all
MISSING = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
"""What pandas takes for a missing value, in columns of tokens and of numbers."""

EXACT_LENGTH = 16
"""Numbers of so many characters, without an exponent, are the same float64 to whoever reads them: their digits are an
integer below 2**53, divided once by an exact power of ten. pandas rounds longer ones in its own way."""


class UnreadableError(ValueError):
    """The file holds what Arrow might read in another way than RecBole."""


@dataclass(frozen=True)
class Tokens:
    """A column of tokens.

    Attributes:
        codes: int32 (n,), positions in ``names``; -1 where there is no token.
        names: the distinct tokens, in the order in which the file names them first.
    """

    codes: np.ndarray
    names: pa.Array


Column = Tokens | np.ndarray
"""Tokens, or numbers: float64 (n,), NaN where there is none."""


@dataclass(frozen=True)
class InterFile:
    """What was read: columns by their names in the header, such as ``user_id:token``, and the file's SHA-256."""

    columns: Mapping[str, Column]
    digest: str


def read_inter(path: Path, kinds: Mapping[str, str], separator: str) -> InterFile:
    """The columns of a file.

    Args:
        path: an atomic file in UTF-8, with a header.
        kinds: the columns to read by their names in the header, ``token`` or ``float``.
        separator: between fields, one character.

    Raises:
        UnreadableError: it holds what only RecBole's own reader knows how to take.
        OSError: it cannot be read.
    """
    columns = {name: TokenBlocks() if kind == "token" else NumberBlocks(name) for name, kind in kinds.items()}
    with open(path, "rb") as stream:
        watched, n_rows = WatchedFile(stream), 0
        try:
            for batch in _batches(watched, kinds, separator):
                watched.check()
                n_rows += len(batch)
                for name, block in zip(batch.schema.names, batch.columns, strict=True):
                    columns[name].append(block)
        except pa.ArrowException as error:
            raise UnreadableError(str(error)) from error
        watched.check()
    if not n_rows:
        raise UnreadableError("there are no rows")
    return InterFile({name: columns.pop(name).joined() for name in kinds}, watched.digest.hexdigest())


def _batches(stream: WatchedFile, kinds: Mapping[str, str], separator: str) -> csv.CSVStreamingReader:
    types = {"token": pa.dictionary(pa.int32(), pa.string()), "float": pa.string()}
    return csv.open_csv(
        pa.PythonFile(stream, mode="r"),
        read_options=csv.ReadOptions(block_size=BLOCK),
        parse_options=csv.ParseOptions(delimiter=separator, quote_char=False, escape_char=False),
        convert_options=csv.ConvertOptions(
            column_types={name: types[kind] for name, kind in kinds.items()},
            include_columns=list(kinds),
            null_values=list(MISSING),
            strings_can_be_null=True,
        ),
    )


class TokenBlocks:
    """Blocks of a column of tokens, numbered together.

    The distinct tokens of all blocks would take more room than the column. They are folded into one list whenever those
    that wait outnumber it, which costs no more than twice what one folding at the end would.
    """

    def __init__(self) -> None:
        self.names = pa.array([], pa.string())
        self.codes: list[np.ndarray] = []
        self.waiting: list[pa.DictionaryArray] = []
        self.n_waiting = 0

    def append(self, block: pa.DictionaryArray) -> None:
        """Takes the next block."""
        self.waiting.append(block)
        self.n_waiting += len(block.dictionary)
        if self.n_waiting > max(FEWEST_FOLDED, len(self.names)):
            self._fold()

    def _fold(self) -> None:
        nothing = pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), self.names)
        _, *folded = pa.chunked_array([nothing, *self.waiting]).unify_dictionaries().chunks
        self.names = folded[-1].dictionary  # begins with the earlier names, whose codes stay
        self.codes += [block.indices.fill_null(-1).to_numpy() for block in folded]
        self.waiting, self.n_waiting = [], 0

    def joined(self) -> Tokens:
        """The column."""
        if self.waiting:
            self._fold()
        return Tokens(np.concatenate(self.codes), self.names)


class NumberBlocks:
    """Blocks of a column of plain decimal numbers.

    Args:
        name: of the column.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.blocks: list[np.ndarray] = []

    def append(self, texts: pa.StringArray) -> None:
        """Takes the next block.

        Raises:
            UnreadableError: pandas might round some numbers in another way.
        """
        _, offsets, data = texts.buffers()
        bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
        letters = np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]] if data is not None else np.zeros(0, np.uint8)
        is_plain = len(letters) == 0 or (letters.min() >= ord("-") and letters.max() <= ord("9"))
        if not is_plain or (len(texts) and np.diff(bounds).max() > EXACT_LENGTH):
            raise UnreadableError(
                f"column {self.name} has numbers of more than {EXACT_LENGTH} characters or with an exponent"
            )
        self.blocks.append(texts.cast(pa.float64()).to_numpy(zero_copy_only=False))

    def joined(self) -> np.ndarray:
        """The column: float64 (n,)."""
        return np.concatenate(self.blocks)


LONGEST_LINE = 1 << 16
"""Bytes: pandas' parser takes cells of up to 131,072 characters only; whoever has such lines, it shall decide."""


class WatchedFile:
    """A binary file as Arrow reads it, which takes its hash and looks for what pandas and Arrow read differently."""

    closed = False

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.digest, self.found = stream, hashlib.sha256(), ""
        self.last = b""
        self.n_since_end = 0  # bytes read since the last line ended

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data = self.stream.read(size)
        if not self.last and data.startswith(b"\xef\xbb\xbf"):
            self.found = "a byte order mark"
        self.digest.update(data)
        self._look(data)
        self.last = data[-1:] or self.last
        return data

    def _look(self, data: bytes) -> None:
        n_returns = data.count(b"\r") + (self.last == b"\r") - data.endswith(b"\r")
        n_ends = data.count(b"\r\n") + (self.last == b"\r" and data.startswith(b"\n"))
        if b'"' in data:
            self.found = "quotes"
        elif b"\0" in data:
            self.found = "zero bytes"
        elif data and n_returns != n_ends:
            self.found = "carriage returns that end no line"
        elif self._has_long_line(data):
            self.found = f"lines of more than {LONGEST_LINE:,} bytes"

    def _has_long_line(self, data: bytes) -> bool:
        """Whether a line is twice as long as `LONGEST_LINE`; one that is longer than it may count, too."""
        first = data.find(b"\n")
        longest = self.n_since_end + (first if first >= 0 else len(data))
        self.n_since_end = len(data) - 1 - data.rfind(b"\n") if first >= 0 else longest
        windows = range(0, len(data) - LONGEST_LINE + 1, LONGEST_LINE)
        is_open = any(data.find(b"\n", start, start + LONGEST_LINE) < 0 for start in windows)
        return is_open or max(longest, self.n_since_end) > LONGEST_LINE

    def close(self) -> None:
        """Arrow asks for it; who opened the file closes it."""

    def check(self) -> None:
        """Raises UnreadableError if something was found so far."""
        if self.found:
            raise UnreadableError(f"it has {self.found}")


def digest_of(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while data := stream.read(BLOCK):
            digest.update(data)
    return digest.hexdigest()

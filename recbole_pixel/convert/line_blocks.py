"""Huge text files, plain or gzipped, as blocks of complete numbered lines, read a little ahead of who parses them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from recbole_pixel.table_faults import first_bytes, kind_of

BLOCK_BYTES = 16 << 20
"""Text parsed at once."""

_READ_BYTES = 1 << 18
_PIECE_BYTES = 1 << 20
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Block:
    """Complete lines of a file.

    Args:
        first: the number of the first line; a file's lines are numbered from 1.
        data: the lines, each but the file's last with its line break.
    """

    first: int
    data: bytes

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """(number, text) of the lines that are not blank."""
        for number, line in enumerate(self.data.split(b"\n"), self.first):
            if stripped := line.strip():
                yield number, stripped


class BrokenLines:
    """What happens at a line that cannot be used: the file is refused, or the line is skipped and counted.

    Args:
        path: the file, for the message.
        skip: whether to skip.
    """

    def __init__(self, path: Path, skip: bool = False) -> None:
        self.path = path
        self._skip = skip
        self.n = 0
        self.first = ""

    def found(self, number: int, why: str) -> None:
        """Counts the line.

        Raises:
            ValueError: unless broken lines are skipped.
        """
        if not self._skip:
            raise ValueError(
                f"{self.path}, line {number}: {why}; mend the file, or skip and count such lines: --skip-broken-lines"
            )
        self.n += 1
        self.first = self.first or f"line {number}: {why}"

    def notice(self) -> tuple[str, ...]:
        """One line that says how many were skipped and what was wrong with the first; nothing if none were."""
        return (f"{self.path.name}: {self.n:,} broken lines skipped, the first {self.first}",) if self.n else ()


def read_blocks(
    path: Path, broken: BrokenLines, *, progress: bool = False, block_bytes: int = BLOCK_BYTES
) -> Iterator[Block]:
    """The blocks of a file, in order; one is read and decompressed while the one before is in use.

    Args:
        path: a text file; gzipped if it begins so, whatever its name.
        broken: told where compressed data end too early or are damaged; what comes before counts.
        progress: show a bar of the bytes of the file, compressed ones if it is.
        block_bytes: size of a block; one line of any length fits.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the compressed data are damaged, and broken lines are not skipped.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{'a folder is at' if path.is_dir() else 'no file'} {path}; expected a text file")
    bar = tqdm(
        total=path.stat().st_size, desc=path.name, unit="B", unit_scale=True, unit_divisor=1024, disable=not progress
    )
    with path.open("rb") as stream, bar:
        yield from _one_ahead(_blocks(_pieces(stream, bar), broken, block_bytes))


def first_lines(path: Path, n: int) -> list[tuple[int, bytes]]:
    """(number, text) of up to `n` lines that are not blank, from the beginning of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds no text, or is something else.
    """
    lines: list[tuple[int, bytes]] = []
    if path.is_file() and (kind := kind_of(first_bytes(path))):
        raise ValueError(f"{path} holds no lines of text: {kind}")
    for block in read_blocks(path, BrokenLines(path, skip=True), block_bytes=1 << 16):
        lines += list(block.lines())[: n - len(lines)]
        if len(lines) == n:
            break
    if not lines:
        raise ValueError(f"{path} holds no text; expected one record on each line")
    return lines


def _blocks(pieces: Iterator[bytes], broken: BrokenLines, block_bytes: int) -> Iterator[Block]:
    number, size, fault = 1, 0, ""
    held: list[bytes] = []
    while not fault:
        try:
            piece = next(pieces)
        except StopIteration:
            break
        except (zlib.error, EOFError) as error:
            fault, piece = str(error), b""
        held.append(piece.removeprefix(_BOM) if number == 1 and not any(held) else piece)
        size += len(piece)
        if size >= block_bytes or fault:
            data = b"".join(held)
            cut = data.rfind(b"\n") + 1
            if cut:
                yield Block(number, data[:cut])
                number += data.count(b"\n", 0, cut)
            held, size = [data[cut:]], 0
    if fault:
        broken.found(number, f"the compressed data are damaged about here ({fault}): download the file again")
    elif rest := b"".join(held):
        yield Block(number, rest)


def _pieces(stream: BinaryIO, bar: tqdm) -> Iterator[bytes]:
    """The text by pieces of any size, decompressed.

    Raises:
        EOFError: compressed data end before their end mark.
        zlib.error: they are damaged.
    """
    is_gzip = stream.read(2) == _GZIP
    stream.seek(0)
    # Not gzip.open: what it had decompressed of the last read before the damage would be lost.
    inflater = zlib.decompressobj(31)
    while data := stream.read(_READ_BYTES):
        bar.update(len(data))
        if not is_gzip:
            yield data
            continue
        while data:
            yield inflater.decompress(data, _PIECE_BYTES)
            data = inflater.unconsumed_tail
            if inflater.eof:
                data = inflater.unused_data.lstrip(b"\0")  # padding is allowed between members and after them
                inflater = zlib.decompressobj(31) if data else inflater
    if is_gzip and not inflater.eof:
        yield inflater.flush()
    if is_gzip and not inflater.eof:
        raise EOFError("they end in the middle")


def _one_ahead(blocks: Iterable[Block]) -> Iterator[Block]:
    waiting = iter(blocks)
    with ThreadPoolExecutor(1, thread_name_prefix="lines") as pool:
        following = pool.submit(next, waiting, None)
        while (block := following.result()) is not None:
            following = pool.submit(next, waiting, None)
            yield block

"""LMDB files read without LMDB: by `pread`, bounds checked, so that no damage and no truncation can end the process.

LMDB maps a file and trusts it. A picture behind the end of a file that another program cut short, or a flipped bit in a
page, kills whoever reads it by a signal. Read this way both are a StoreError. Nothing here is shared with other
readers, so that an open file may be used by many threads and by forked children.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from recbole_pixel.store.errors import StoreError
from recbole_pixel.store.lmdb_page import HEADER_BYTES, IN_OVERFLOW, IS_DATABASE, Page, Value, damaged

MAGIC = 0xBEEFC0DE
VERSION = 1  # of the data format: LMDB 0.9's
META_BYTES = 152
NO_PAGE = 2**64 - 1
DEEPEST = 32
KEPT_PAGES = 2048  # about 12 MiB; the branches and leaves of 60,000 pictures
DATABASE = struct.Struct("<4xHH24xQQ")  # of MDB_db: flags, depth, entries, root


class Database(NamedTuple):
    """One B-tree of the file."""

    flags: int
    depth: int
    n_entries: int
    root: int


class Header(NamedTuple):
    """What the newer of a file's two meta pages says."""

    page_bytes: int
    n_pages: int
    main: Database

    @property
    def promised_bytes(self) -> int:
        """How long the file must be for every page."""
        return self.page_bytes * self.n_pages


def is_lmdb(file: Path) -> bool:
    """True if `file` begins as an LMDB data file does."""
    try:
        with open(file, "rb") as stream:
            head = stream.read(20)
    except OSError:
        return False
    return len(head) == 20 and struct.unpack_from("<I", head, 16)[0] == MAGIC


def read_header(file: Path) -> Header:
    """The header of an LMDB file; layout of `MDB_meta` in LMDB's mdb.c.

    Raises:
        StoreError: too short to have a header, not LMDB, or of another version.
    """
    if not is_lmdb(file):
        raise StoreError(f"{file} is not an LMDB data file, or its header is damaged; copy it again or build it again")
    with open(file, "rb") as stream:
        first = stream.read(META_BYTES)
        page_bytes = struct.unpack_from("<I", first, 40)[0] if len(first) == META_BYTES else 0
        stream.seek(page_bytes)
        second = stream.read(META_BYTES)
    if len(second) < META_BYTES or not 256 <= page_bytes <= 1 << 16:
        raise StoreError(f"{file} is cut short in its header, or that is damaged; copy it again or build it again")
    metas = [meta for meta in (first, second) if struct.unpack_from("<II", meta, 16) == (MAGIC, VERSION)]
    if not metas:
        version = struct.unpack_from("<I", first, 20)[0]
        raise StoreError(
            f"{file} is of LMDB's data format {version}, expected {VERSION}, that of LMDB 0.9; make it anew by that"
        )
    newest = max(metas, key=lambda meta: struct.unpack_from("<Q", meta, 144)[0])
    last_page = struct.unpack_from("<Q", newest, 136)[0]
    return Header(page_bytes, last_page + 1, Database(*DATABASE.unpack_from(newest, 88)))


def check_complete(file: Path, header: Header) -> None:
    """Raises StoreError if `file` is shorter than its own header says."""
    found, promised = file.stat().st_size, header.promised_bytes
    if found < promised:
        raise StoreError(
            f"{file} holds {found:,} bytes, its header promises {promised:,}: a copy or a disk cut it short; "
            f"copy it again (`mdb_copy -c` makes an exact one) or build it again"
        )


class LmdbFile:
    """An LMDB file, open for reading, in the state of its last transaction.

    Raises:
        StoreError: cut short, not LMDB, or damaged where it was looked at; so do all methods.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        header = read_header(path)
        check_complete(path, header)
        self.main = header.main
        self._page_bytes, self._n_pages = header.page_bytes, header.n_pages
        self._pages: dict[tuple[int, bool], Page] = {}  # those looked at last, about
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - lives as long as the object

    def database(self, name: bytes) -> Database:
        """The named database `name`."""
        found = self._find(self.main, name)
        if found is None or not found[1].flags & IS_DATABASE or found[1].n_bytes != DATABASE.size:
            raise self._damaged(f"it has no database {name.decode()!r}")
        page, value = found
        return Database(*DATABASE.unpack_from(page.raw, value.place))

    def get(self, database: Database, key: bytes) -> bytes | None:
        """The value of `key`, None if there is none."""
        found = self._find(database, key)
        return None if found is None else self._value(*found)

    def keys(self, database: Database) -> Iterator[bytes]:
        """All keys, in their order."""
        return (page.key(i) for page, i in self._entries(database))

    def items(self, database: Database) -> Iterator[tuple[bytes, bytes]]:
        """All keys and their values, in the order of the keys."""
        return ((page.key(i), self._value(page, page.value(i))) for page, i in self._entries(database))

    def first_bytes(self) -> bytes:
        """Both meta pages, which say where everything else is."""
        return self._read(0, 2 * self._page_bytes)

    def _entries(self, database: Database) -> Iterator[tuple[Page, int]]:
        """Leaf and node of each entry; at their end it is known that none is missing, double or out of order."""
        n_entries, before = 0, b""
        for page, i in self._walk(database.root, database.depth) if database.root != NO_PAGE else ():
            key = page.key(i)
            if n_entries and key <= before:
                raise self._damaged(f"page {page.number}: its keys are not in order")
            n_entries, before = n_entries + 1, key
            yield page, i
        if n_entries != database.n_entries:
            raise self._damaged(f"{n_entries} entries, expected {database.n_entries}")

    def _walk(self, number: int, depth: int) -> Iterator[tuple[Page, int]]:
        page = self._page(number, depth)
        for i in range(len(page)):
            if depth == 1:
                yield page, i
            else:
                yield from self._walk(page.child(i), depth - 1)

    def _find(self, database: Database, key: bytes) -> tuple[Page, Value] | None:
        number, depth = database.root, database.depth
        if number == NO_PAGE:
            return None
        while depth > 1:
            number, depth = self._page(number, depth).below(key), depth - 1
        leaf = self._page(number, depth)
        i = leaf.find(key)
        return None if i is None else (leaf, leaf.value(i))

    def _page(self, number: int, depth: int) -> Page:
        """The page of a tree that is `depth` levels above its lowest, counted from 1: the leaves."""
        if not 1 <= depth <= DEEPEST or not 2 <= number < self._n_pages:
            raise self._damaged(f"page {number} at depth {depth} of {self._n_pages} pages is none of the file")
        place = number, depth == 1
        page = self._pages.get(place)
        if page is None:
            raw = self._read(number * self._page_bytes, self._page_bytes)
            page = Page(self.path, raw, number, is_leaf=depth == 1)
            if len(self._pages) >= KEPT_PAGES:
                self._pages.clear()
            self._pages[place] = page
        return page

    def _value(self, page: Page, value: Value) -> bytes:
        if not value.flags & IN_OVERFLOW:
            return page.raw[value.place : value.place + value.n_bytes]
        start = value.place * self._page_bytes + HEADER_BYTES
        if start + value.n_bytes > self._n_pages * self._page_bytes:
            raise self._damaged(f"page {page.number}: a value reaches beyond the end of the file")
        return self._read(start, value.n_bytes)

    def _read(self, offset: int, n_bytes: int) -> bytes:
        try:
            data = os.pread(self._file.fileno(), n_bytes, offset)
        except OSError as error:  # a failing disk, a lost network file system
            raise StoreError(f"{self.path} cannot be read at byte {offset:,}: {error.strerror}") from error
        if len(data) != n_bytes:
            raise self._damaged(f"it ends before byte {offset + n_bytes:,}: it was cut short while in use")
        return data

    def _damaged(self, why: str) -> StoreError:
        return damaged(self.path, why)

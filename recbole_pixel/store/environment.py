"""LMDB files opened for reading: checked before LMDB maps them, once per process, whoever asks."""

from __future__ import annotations

import os
import struct
import threading
import time
import weakref
from pathlib import Path

import lmdb

from recbole_pixel.store.errors import StoreError

LMDB_MAGIC = 0xBEEFC0DE
META_BYTES = 152
OPENING_TRIES = 50


def is_lmdb(file: Path) -> bool:
    """True if `file` begins as an LMDB data file does."""
    try:
        with open(file, "rb") as stream:
            head = stream.read(20)
    except OSError:
        return False
    return len(head) == 20 and struct.unpack_from("<I", head, 16)[0] == LMDB_MAGIC


def promised_bytes(file: Path) -> int:
    """How long an LMDB file must be for every page its header knows of; layout of `MDB_meta` in LMDB's mdb.c.

    Raises:
        StoreError: too short to have a header, or not LMDB.
    """
    if not is_lmdb(file):
        raise StoreError(f"{file} is not an LMDB data file, or its header is damaged; copy it again or build it again")
    with open(file, "rb") as stream:
        first = stream.read(META_BYTES)
        page_bytes = struct.unpack_from("<I", first, 40)[0] if len(first) == META_BYTES else 0
        stream.seek(page_bytes)
        second = stream.read(META_BYTES)
    if len(second) < META_BYTES or not page_bytes:
        raise StoreError(f"{file} is cut short in its header; copy it again or build it again")
    last_page, _ = max((struct.unpack_from("<QQ", meta, 136) for meta in (first, second)), key=lambda meta: meta[1])
    return int(last_page + 1) * int(page_bytes)


def check_complete(file: Path) -> None:
    """Raises StoreError if `file` is shorter than its own header says.

    LMDB does not look: it maps the file, and the first read behind its end kills the process with SIGBUS.
    """
    found, promised = file.stat().st_size, promised_bytes(file)
    if found < promised:
        raise StoreError(
            f"{file} holds {found:,} bytes, its header promises {promised:,}: a copy or a disk cut it short; "
            f"copy it again (`mdb_copy -c` makes an exact one) or build it again"
        )


class Environment:
    """An LMDB file open for reading in this process; `databases` are the handles of its named databases."""

    def __init__(self, file: Path, names: tuple[bytes, ...]) -> None:
        # lock=False: the file never changes, so no reader table is needed and a read-only disk will do.
        # readahead=False: pictures are read in random order, read-ahead multiplies the bytes by 20.
        self.lmdb = lmdb.open(str(file), subdir=False, readonly=True, lock=False, readahead=False, max_dbs=4)
        self.databases = {name: self.lmdb.open_db(name, create=False) for name in names}
        self.pid = os.getpid()


_guard = threading.Lock()
_open: weakref.WeakValueDictionary[tuple[int, int], Environment] = weakref.WeakValueDictionary()


def environment(file: Path, names: tuple[bytes, ...] = ()) -> Environment:
    """The one Environment of `file` in this process; it is closed when nobody holds it any more.

    Keyed by device and inode: LMDB must not open a file twice in a process, and a store built anew under the same
    name is another file.

    Raises:
        StoreError: the file is cut short, or not LMDB.
    """
    check_complete(file)
    status = file.stat()
    with _guard:
        found = _open.get((status.st_dev, status.st_ino))
        if found is None:
            found = _opened(file, names)
            _open[status.st_dev, status.st_ino] = found
    return found


def _opened(file: Path, names: tuple[bytes, ...]) -> Environment:
    for remaining in reversed(range(OPENING_TRIES)):
        try:
            return Environment(file, names)
        except lmdb.Error as error:
            # The last holder's Environment may be half way through its deallocation in another thread.
            if remaining and "already open" in str(error):
                time.sleep(0.01)
            else:
                raise StoreError(f"{file} cannot be opened: {error}; copy it again or build it again") from error
    raise AssertionError("unreachable")


def _forget_after_fork() -> None:
    """Closes in a forked child what its parent had open: LMDB's handles must not be used across a fork."""
    global _guard
    _guard = threading.Lock()
    for inherited in list(_open.values()):
        inherited.lmdb.close()
    _open.clear()


os.register_at_fork(after_in_child=_forget_after_fork)

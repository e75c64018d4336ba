"""One builder at a time for each store."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from recbole_pixel.store.disk_faults import named_disk_faults
from recbole_pixel.store.durable import beside


def locked(path: Path, refusal: str) -> int:
    """A handle of the file at `path`, which is made if need be, locked until it is closed or this process ends.

    Raises:
        BlockingIOError: another process holds the lock; the message is `refusal`.
        OSError: the file cannot be opened, or its file system knows no locks.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise BlockingIOError(refusal) from None
    except OSError:
        os.close(handle)
        raise
    return handle


class BuildLock:
    """Holds `path`.lock while a store is being built; the system releases it if the builder dies.

    Raises:
        BlockingIOError: another process is building the same store.
    """

    def __init__(self, path: Path) -> None:
        self.store, self.path = path, beside(path, ".lock")
        self._handle: int | None = None

    def __enter__(self) -> BuildLock:
        with named_disk_faults(self.store):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            while self._handle is None:
                handle = locked(
                    self.path,
                    f"another process is building {self.store}; wait for it to end, or stop it: its work is kept",
                )
                if self._is_still_named(handle):
                    self._handle = handle
                else:
                    os.close(handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._handle is not None:
            self.path.unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = None

    def _is_still_named(self, handle: int) -> bool:
        """False if the builder before us removed the file between our opening and our locking it."""
        try:
            return os.fstat(handle).st_ino == os.stat(self.path).st_ino
        except FileNotFoundError:
            return False

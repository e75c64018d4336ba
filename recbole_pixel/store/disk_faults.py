"""What a full, read-only or lockless disk means for a build, said to whoever has to do something about it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOM = "make room and run the same build again, what was done is kept"
ELSEWHERE = "name a place that can be written (of caches: cache_dir)"
ELSEWHERE_FIRST = "build on a local disk and copy the finished store"
ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), ROOM),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), ELSEWHERE),
    **dict.fromkeys((errno.ENOLCK, errno.EOPNOTSUPP), ELSEWHERE_FIRST),
}


@contextmanager
def named_disk_faults(path: Path) -> Iterator[None]:
    """Adds to an OSError of writing the store `path`, or beside it, what can be done; lets all others pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in ADVICE or error.strerror != os.strerror(error.errno) or not _is_of(error, path):
            raise
        told = f"{error.strerror}: {ADVICE[error.errno]}"
        raise type(error)(error.errno, told, error.filename or str(path)) from error


def _is_of(error: OSError, path: Path) -> bool:
    """Whether the file of the error is `path`, in it, beside it, or a folder that leads to it; or none was named."""
    file = error.filename
    return not isinstance(file, str) or file.startswith(str(path)) or path.is_relative_to(file)

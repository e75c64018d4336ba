"""What a full, read-only or lockless disk means for a build, said to whoever has to do something about it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOM = "make room and run the same build again, what was done is kept"
NO_ROOM = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), ROOM)
NO_RIGHT = (errno.EROFS, errno.EACCES, errno.EPERM)
NO_LOCKS = dict.fromkeys((errno.ENOLCK, errno.EOPNOTSUPP), "build on a local disk and copy the finished store")


@contextmanager
def named_disk_faults(path: Path, elsewhere: str = "name a place that can be written") -> Iterator[None]:
    """Adds to an OSError of writing `path`, or what lies beside it, what can be done; lets all others pass.

    Args:
        path: the store.
        elsewhere: what to do where nothing may be written.
    """
    advice = {**NO_ROOM, **NO_LOCKS, **dict.fromkeys(NO_RIGHT, elsewhere)}
    try:
        yield
    except OSError as error:
        if error.errno not in advice or error.strerror != os.strerror(error.errno) or not _is_of(error, path):
            raise
        raise type(error)(
            error.errno, f"{error.strerror}: {advice[error.errno]}", error.filename or str(path)
        ) from error


def _is_of(error: OSError, path: Path) -> bool:
    """Whether the file of the error is `path`, in it, beside it, or a folder that leads to it; or none was named."""
    file = error.filename
    return not isinstance(file, str) or file.startswith(str(path)) or path.is_relative_to(file)

"""The folder of a data set: its files appear under their names only when all of them are complete."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from types import TracebackType

from recbole_pixel.store.build_lock import BuildLock
from recbole_pixel.store.durable import beside, sync_folder


class DatasetFolder:
    """`out`/`name`, written by one conversion at a time.

    Inside the context, files are written to `part` paths; leaving it without an error gives them their names one by
    one, each replacing what had it. After an error they are removed, and so is a folder that was not there before; of a
    full disk it is said which.

    Args:
        out: the folder of data sets.
        name: the data set's name, which its files carry.

    Raises:
        ValueError: the name cannot be a data set's.
        BlockingIOError: another conversion is writing the same data set.
    """

    def __init__(self, out: Path, name: str) -> None:
        self.path = Path(out) / checked_name(name)
        self._name = name
        self._parts: dict[Path, Path] = {}
        self._lock = BuildLock(self.path)

    def __enter__(self) -> DatasetFolder:
        self._lock.__enter__()
        self.path.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._commit()
        finally:
            for part in self._parts.values():
                part.unlink(missing_ok=True)
            if not any(self.path.iterdir()):
                self.path.rmdir()
            self._lock.__exit__(kind, error, trace)
        if isinstance(error, OSError) and _number(error) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            why = f"{self.path} cannot be written, nothing in it was changed, and what was begun is gone: {error}"
            raise OSError(why) from error

    @property
    def images(self) -> Path:
        """Where the image store goes; it takes care of its own temporary name."""
        return self.path / "images.lmdb"

    def file(self, suffix: str) -> Path:
        """The final path of the file with this suffix, e.g. `.inter`."""
        return self.path / f"{self._name}{suffix}"

    def part(self, suffix: str) -> Path:
        """The temporary path under which that file is written."""
        final = self.file(suffix)
        return self._parts.setdefault(final, beside(final, ".part"))

    def _commit(self) -> None:
        for part in self._parts.values():
            with part.open("rb+") as stream:
                os.fsync(stream.fileno())
        for final, part in self._parts.items():
            os.replace(part, final)
        sync_folder(self.path)


def _number(error: OSError) -> int:
    """What the system calls an error; polars only writes it into the text."""
    found = re.search(r"\(os error (\d+)\)", str(error))
    return error.errno or (int(found[1]) if found else 0)


def checked_name(name: str) -> str:
    """The name, if a folder, its files and RecBole can carry it.

    Raises:
        ValueError: empty, with a slash or a leading dot, or RecBole's own.
    """
    if not name or name.startswith(".") or any(char in name for char in '/\\:*?"<>|\t\n'):
        raise ValueError(f"a data set cannot be named {name!r}; expected a plain folder name, such as pixel200k")
    if name == "ml-100k":
        raise ValueError(
            "RecBole reads its own copy of the data under the name 'ml-100k' and would never see yours; "
            "choose another name, such as ml-100k-covers"
        )
    return name

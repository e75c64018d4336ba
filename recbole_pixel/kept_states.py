"""The folder in which a run keeps its last states, to go on from: written whole, the oldest removed, one writer."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recbole_pixel.checkpoint import write_checkpoint
from recbole_pixel.store.build_lock import locked

SUFFIX = ".run"
_NAME = re.compile(r"step-(\d+)(-end)?\.pth")


class KeptStates:
    """States of a run, ``step-N.pth`` behind N steps of the optimiser, ``step-N-end.pth`` of a run that is done.

    Args:
        folder: made when the first state is written.
        n_kept: how many states stay.
    """

    def __init__(self, folder: Path, n_kept: int) -> None:
        self.folder, self.n_kept = folder, n_kept
        self._lock: int | None = None

    def write(self, state: dict[str, Any], n_updates: int, is_end: bool = False) -> Path:
        """Writes a state, then removes those that are too many.

        Raises:
            OSError: it cannot be written; those that were there stay.
        """
        path = self.folder / f"step-{n_updates:09d}{'-end' if is_end else ''}.pth"
        self.lock()
        write_checkpoint(state, path)
        for other in [other for other in states_in(self.folder) if other != path][max(0, self.n_kept - 1) :]:
            other.unlink(missing_ok=True)
        return path

    def lock(self) -> None:
        """Makes this process the folder's only writer, until it ends or :meth:`unlock` is called.

        Raises:
            BlockingIOError: another process is.
        """
        if self._lock is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        refusal = f"the run in {self.folder} is still going on, in another process: wait for it, or end it first"
        try:
            self._lock = locked(self.folder / "lock", refusal)
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            self._lock = os.open(self.folder / "lock", os.O_RDWR)  # on a file system without locks
        for partial in self.folder.glob("*.partial"):  # of a process that was killed while it wrote
            partial.unlink(missing_ok=True)

    def unlock(self) -> None:
        """Lets others write."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def states_in(folder: Path) -> list[Path]:
    """Paths of the states in a folder, the newest first."""
    found = [(match, path) for path in folder.glob("*.pth") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found, key=lambda it: (int(it[0][1]), bool(it[0][2])), reverse=True)]


def run_folders(checkpoint_dir: Path, model: str) -> Iterator[Path]:
    """Folders in ``checkpoint_dir`` with states of runs of ``model``, the one that was written last first."""
    folders = [path for path in checkpoint_dir.glob(f"*{SUFFIX}") if path.name.startswith(f"{model}-")]
    with_states = [(states[0].stat().st_mtime_ns, folder) for folder in folders if (states := states_in(folder))]
    yield from (folder for _, folder in sorted(with_states, reverse=True))


def put_aside(path: Path) -> None:
    """Gives a damaged state another name, under which nobody takes it for a state."""
    try:
        path.rename(path.with_name(f"{path.name}.damaged"))
    except OSError:
        return  # in a folder that cannot be written to, it stays

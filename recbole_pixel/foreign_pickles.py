"""Which pickles may be opened: those that this process wrote itself, and those that the user says to trust.

RecBole keeps checkpoints, datasets and dataloaders as pickles. A pickle is a program: opening one runs it. None of ours
is one, so that whatever needs this module is RecBole's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO

TRUST = "trust_checkpoint"
"""Name of the setting, and of ``load_data_and_model``'s argument, that opens other people's pickles."""

LEFT_BEHIND: dict[str, None] = dict.fromkeys(
    (TRUST, "save_dataset", "save_dataloaders", "dataset_save_path", "dataloaders_save_path")
)
"""What a checkpoint may not say for whoever opens it: to trust a pickle, where one is, and to write one."""

_trusts: ContextVar[bool] = ContextVar("trusts_pickles", default=False)
_written: dict[str, tuple[int, ...]] = {}


class UntrustedPickleError(ValueError):
    """A file is a pickle of unknown origin; the message says how to open it all the same."""


@contextmanager
def trusting(setting: object) -> Iterator[None]:
    """Inside, pickles open where ``setting`` is True, and where they did outside; any other value adds no trust."""
    token = _trusts.set(_trusts.get() or setting is True)
    try:
        yield
    finally:
        _trusts.reset(token)


def remember_written(path: str | os.PathLike[str]) -> None:
    """Notes that this process wrote ``path``, as it is now: another file of that name is none of its own."""
    _written[os.path.abspath(path)] = _identity(os.stat(path))


def check_trusted(stream: IO[bytes], path: str | os.PathLike[str], what: str) -> None:
    """Refuses to have ``stream`` unpickled unless it is this process' own file, or pickles are trusted here.

    Args:
        stream: the file, open, so that no other can take its place between this look and the reading.
        path: by which it was opened.
        what: it is, for the message.

    Raises:
        UntrustedPickleError: it may hold any code.
    """
    if _trusts.get() or _written.get(os.path.abspath(path)) == _identity(os.fstat(stream.fileno())):
        return
    raise UntrustedPickleError(
        f"{Path(path)} is {what}: a pickle, which can run any code, and this process did not write it. If you made it "
        f"yourself, set trust_checkpoint: True (--trust_checkpoint=True, or trust_checkpoint=True where a function "
        f"opens it); otherwise delete it"
    )


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """Tells a file from any that takes its name; the time of change of its inode cannot be set by whoever writes it."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns

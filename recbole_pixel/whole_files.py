"""Files of tensors that are whole or not there: written under another name first, and read with their checksums."""

from __future__ import annotations

import os
import pickle
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch

from recbole_pixel.foreign_pickles import UntrustedPickleError
from recbole_pixel.store.durable import sync_folder
from recbole_pixel.store.new_file import new_file

START = b"PK\x03\x04"  # of the zip archives that torch writes


class DamagedFileError(ValueError):
    """A file is not what was once written into it."""


def save_whole(state: Any, path: Path) -> None:
    """Writes ``state`` to the disk, then gives it the name ``path``: a reader never meets half a file, nor a power cut.

    Raises:
        OSError: it cannot be written, as on a full disk; what had that name before is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with new_file(partial) as stream:
            _save(state, _Written(stream))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


class _Written:
    """A stream that remembers why it could not be written: torch says no more than that it could not."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self.stream.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.stream.flush()


def _save(state: Any, stream: Any) -> None:
    try:
        torch.save(state, stream)
    except RuntimeError as error:
        if stream.error is not None:
            raise stream.error from error
        raise


@contextmanager
def named_damage(path: Path) -> Iterator[None]:
    """Inside, whatever torch stumbles over in a file becomes one error; that it is a pickle stays as it is.

    Its reader of tensors follows the file's instructions, and raises IndexError, AssertionError, struct.error, ...

    Raises:
        DamagedFileError: in the place of it.
    """
    try:
        yield
    except (pickle.UnpicklingError, FileNotFoundError, PermissionError, DamagedFileError, UntrustedPickleError):
        raise
    except Exception as error:
        told = " ".join(str(error).split())[:300] or type(error).__name__
        raise DamagedFileError(f"{path} cannot be read, it is torn or damaged: {told}") from error


def read_plain(path: Path, map_location: Any = None, *, mmap: bool = False) -> Any:
    """Tensors and plain values that torch wrote, compared with their checksums; nothing else is unpickled.

    Args:
        path: of the file.
        map_location: device of the tensors.
        mmap: leave them in the file until they are used.

    Raises:
        FileNotFoundError, PermissionError: it cannot be opened.
        DamagedFileError: it is torn or damaged.
        pickle.UnpicklingError: it holds something else.
    """
    with warnings.catch_warnings(), named_damage(path):
        warnings.filterwarnings("ignore", message="Detected pickle protocol")  # the refusal follows
        if starts_as_archive(path):  # torch < 1.6 wrote none, and no checksums either
            check_whole(path)
        return torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)


def starts_as_archive(path: Path) -> bool:
    """Whether the file begins as those that torch writes."""
    with open(path, "rb") as stream:
        return stream.read(len(START)) == START


def check_whole(path: Path) -> None:
    """Compares the checksums in a file that torch wrote with its contents: torch.load does not.

    Raises:
        DamagedFileError: it is torn, or was changed, be it by one bit.
        FileNotFoundError, PermissionError: it cannot be opened.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as error:  # a changed header may make zipfile fail in any way
        raise DamagedFileError(f"{path} is torn or damaged ({error})") from error
    if wrong is not None:
        raise DamagedFileError(f"{path} is damaged: the checksum of {wrong} in it is not that of what was written")

"""Temporary files that nobody else can have laid out."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def new_file(path: Path, mode: str = "b", encoding: str | None = None) -> Any:
    """A file opened for writing, made just now.

    Temporary names can be guessed. In a folder that others write to, what has such a name may be a link to a file of
    the user's, through which a plain ``open`` would write.

    Args:
        path: what is there, a link too, is removed, never followed.
        mode: ``b`` for bytes, ``t`` for text.
        encoding: of text.

    Raises:
        FileExistsError: somebody put another one there meanwhile.
        OSError: the folder cannot be written.
    """
    path.unlink(missing_ok=True)
    return open(path, f"x{mode}", encoding=encoding)

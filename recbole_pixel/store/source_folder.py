"""Pictures that are files: of one folder, or named one by one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from recbole_pixel.store.errors import PictureError
from recbole_pixel.store.picture import MAX_BYTES
from recbole_pixel.store.picture_names import tokens_of


def read_limited(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        PictureError: more than a picture file may have.
        OSError: it cannot be read.
    """
    with open(path, "rb") as stream:
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise PictureError(f"{path.stat().st_size:,} bytes, more than {MAX_BYTES:,}")
    return data


class FileMapSource:
    """Pictures by explicit file names.

    Args:
        files: item token -> picture file. A file that is not there makes that one picture bad.
        name: where the pictures come from, for the manifest.
    """

    def __init__(self, files: Mapping[str, Path], name: str) -> None:
        self.files = {token: Path(file) for token, file in files.items()}
        self.name = name
        self.warnings: list[str] = []

    def tokens(self) -> list[str]:
        """The item tokens, in the order given."""
        return list(self.files)

    def read(self, token: str) -> bytes:
        """The bytes of the item's file."""
        return read_limited(self.files[token])

    def fingerprint(self) -> str:
        """A digest of tokens, file names, sizes and times of change."""
        digest = hashlib.sha256()
        for token, file in sorted(self.files.items()):
            try:
                status = file.stat()
                state = f"{status.st_size} {status.st_mtime_ns}"
            except OSError as error:
                state = str(error.errno)
            digest.update(repr((token, file.name, state)).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:32]


class FolderSource(FileMapSource):
    """All pictures in a folder and the folders in it; item `i17` is `i17.jpg`, `i17.png`, ...

    Args:
        path: the folder.

    Attributes:
        warnings: files left out: no picture's name, or a second file for an item.
    """

    def __init__(self, path: str | Path) -> None:
        root = Path(path)
        if not root.is_dir():
            raise NotADirectoryError(f"{root} is not a folder of pictures")
        names = sorted(
            (Path(folder) / file).relative_to(root).as_posix() for folder, _, files in os.walk(root) for file in files
        )
        found, warnings = tokens_of(names)
        super().__init__({token: root / name for token, name in found.items()}, str(root.resolve()))
        self.warnings = warnings

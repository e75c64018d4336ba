"""Pictures that are files: of one folder, or named one by one."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from recbole_pixel.store.errors import PictureError
from recbole_pixel.store.picture import MAX_BYTES
from recbole_pixel.store.picture_names import SUFFIXES, tokens_of

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_limited(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        PictureError: more than a picture file may have; or a pipe, a device, a folder, from which nothing is read.
        OSError: it cannot be read.
    """
    # Without O_NONBLOCK the mere opening of a pipe waits for ever for somebody to write to it.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    kind = stat.S_IFMT(os.fstat(handle).st_mode)
    if kind != stat.S_IFREG:
        os.close(handle)
        raise PictureError(f"{KINDS.get(kind, 'something else')}, not a file")
    with open(handle, "rb") as stream:
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
        warnings: what was left out: no picture's name, a second file for an item, a folder that cannot be listed or
            has a picture's name.
    """

    def __init__(self, path: str | Path) -> None:
        root = Path(path)
        if not root.is_dir():
            raise NotADirectoryError(f"{root} is not a folder of pictures")
        self._left_out: list[str] = []
        found, warnings = tokens_of(sorted(self._walked(root)))
        super().__init__({token: root / name for token, name in found.items()}, str(root.resolve()))
        self.warnings = [*warnings, *sorted(self._left_out)]

    def _walked(self, root: Path) -> Iterator[str]:
        """The files below `root`, with forward slashes."""

        def note(error: OSError) -> None:
            self._left_out.append(
                f"folder {error.filename!r} cannot be listed ({error.strerror}): its pictures are missing"
            )

        for folder, below, files in os.walk(root, onerror=note):
            inside = Path(folder).relative_to(root)
            for name in below:
                if os.path.islink(os.path.join(folder, name)):
                    self._left_out.append(f"{(inside / name).as_posix()!r} is a link to a folder: not followed")
                elif Path(name).suffix.lower() in SUFFIXES:
                    self._left_out.append(f"{(inside / name).as_posix()!r} is a folder with the name of a picture")
            yield from ((inside / name).as_posix() for name in files)

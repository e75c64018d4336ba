"""Where the pictures of a build come from: the protocol, and the choice of a source by what a path is."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Protocol

from recbole_pixel.store.durable import MANIFEST
from recbole_pixel.store.image_index import DATA
from recbole_pixel.store.lmdb_file import is_lmdb
from recbole_pixel.store.source_archive import TarSource, ZipSource
from recbole_pixel.store.source_folder import FolderSource
from recbole_pixel.store.source_pixelrec import PixelRecSource

KINDS = "a folder, a ZIP or TAR (gz, bz2, xz) archive, or PixelRec's LMDB"


class ImageSource(Protocol):
    """Pictures by item token, before they are in a store.

    A source may also have `warnings`, a list of lines for the build's report: what it left out, and why.
    """

    @property
    def name(self) -> str:
        """Where the pictures come from, for the manifest."""

    def tokens(self) -> list[str]:
        """The item tokens, each once, in the order that is cheapest to read."""

    def read(self, token: str) -> bytes:
        """The bytes of a picture file; called from several threads. Any exception marks this one picture as bad."""

    def fingerprint(self) -> str:
        """Changes when the pictures do; made of names, sizes and times, so that it is cheap."""


def open_source(path: str | Path) -> ImageSource:
    """The source that fits what `path` is: a folder, a ZIP or TAR archive, or PixelRec's LMDB.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: something else, or an image store of ours.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"nothing at {path}; expected {KINDS}")
    if path.is_dir():
        if (path / DATA).exists() and (path / MANIFEST).exists():
            raise ValueError(f"{path} is already an image store; use it as it is, or name what it was made of")
        return PixelRecSource(path) if is_lmdb(path / DATA) else FolderSource(path)
    if is_lmdb(path):
        return PixelRecSource(path)
    if _is_zip(path):
        return ZipSource(path)
    if _is_tar(path):
        return TarSource(path)
    raise ValueError(f"{path} is no source of pictures; expected {KINDS}")


def _is_zip(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return True  # a damaged one: ZipSource says how


def _is_tar(path: Path) -> bool:
    """Whether it begins as a TAR archive; one that is cut short right there makes tarfile raise what decoders raise."""
    try:
        return tarfile.is_tarfile(path)
    except (EOFError, ValueError, zlib.error, lzma.LZMAError):
        return False

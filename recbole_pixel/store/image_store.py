"""ImageStore: a finished LMDB file of pictures, item token -> encoded picture.

On disk a folder `NAME/images.lmdb` with two files. `data.mdb` holds two LMDB databases: `pictures` (token -> picture
file, never a pickle) and `index` (token -> its checksum, see `IndexEntry`). `manifest.json` tells what is in it.
"""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from recbole_pixel.store.durable import HEADER_DIGEST, check_size, read_one_store
from recbole_pixel.store.errors import MissingPictureError, StoreError
from recbole_pixel.store.image_index import DATA, FORMAT, INDEX, PICTURES, IndexEntry, fingerprint_of, key_of
from recbole_pixel.store.lmdb_file import Database, LmdbFile


class _Opened(NamedTuple):
    """The file of a store and its two databases."""

    file: LmdbFile
    pictures: Database
    entries: Database


class ImageStore:
    """Pictures by item token, read from a finished store.

    Opened lazily; may be forked, pickled, deep-copied and read from many threads. Every read is compared with its
    checksum, the list of tokens with the store's fingerprint. Nothing is mapped: a file that is damaged, or cut short
    while in use, is a StoreError.

    Args:
        path: the folder `NAME/images.lmdb`.

    Raises:
        FileNotFoundError: nothing there.
        StoreError: unfinished, damaged, cut short, or not an image store.

    Attributes:
        manifest: `count`, `file_bytes`, `file_digest`, `source` (name), `source_fingerprint`, `size` (side in pixels,
            None if the originals were kept), `fit`, `keep_original`, `bad` (token -> why it was left out), `n_unread`,
            `fingerprint`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self.manifest: dict[str, Any] = read_one_store(self.path, FORMAT, self._check)
        self._file: _Opened | None = None
        self._tokens_are_right = False

    def _check(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """The manifest; the file beside it is as long as it says."""
        check_size(self.path / DATA, manifest["file_bytes"])
        return manifest

    @property
    def fingerprint(self) -> str:
        """Changes whenever a token or a picture changes; what is derived from the store is keyed by it."""
        return str(self.manifest["fingerprint"])

    def __len__(self) -> int:
        return int(self.manifest["count"])

    def __contains__(self, token: object) -> bool:
        key = key_of(token) if isinstance(token, str) else None
        return key is not None and self._entry(key) is not None

    def __repr__(self) -> str:
        return f"ImageStore({str(self.path)!r}, {len(self)} pictures)"

    def tokens(self) -> list[str]:
        """All item tokens, in the order of their UTF-8 bytes.

        Raises:
            StoreError: they are not the ones that were stored.
        """
        opened = self._opened()
        if self._tokens_are_right:
            return [key.decode("utf-8") for key in opened.file.keys(opened.entries)]
        entries = {
            key.decode("utf-8", "replace"): IndexEntry.unpack(entry) for key, entry in opened.file.items(opened.entries)
        }
        if fingerprint_of(entries) != self.fingerprint:
            raise StoreError(f"the index of {self.path} is damaged; copy the store again, or delete it and rebuild it")
        self._tokens_are_right = True
        return list(entries)

    def read(self, token: str) -> bytes:
        """The encoded picture of an item, a copy.

        Raises:
            MissingPictureError: a KeyError; the store has no picture of `token`.
            StoreError: the bytes are not the ones that were stored.
        """
        key = key_of(token)
        entry = self._entry(key) if key is not None else None
        opened = self._opened()
        picture = opened.file.get(opened.pictures, key) if key is not None else None
        if entry is None and picture is None:
            raise MissingPictureError(
                f"no picture of item {token!r} in {self.path} ({len(self)} pictures); see `recbole-pixel images check`"
            )
        if entry is None or picture is None or zlib.crc32(picture) != entry.checksum:
            fault = "its checksum differs" if entry and picture else f"the {'index' if picture else 'picture'} is lost"
            raise StoreError(
                f"the picture of item {token!r} in {self.path} is damaged: {fault}; "
                f"copy the store again, or delete it and build it again"
            )
        return picture

    def _entry(self, key: bytes) -> IndexEntry | None:
        opened = self._opened()
        entry = opened.file.get(opened.entries, key)
        return IndexEntry.unpack(entry) if entry is not None else None

    def _opened(self) -> _Opened:
        """The file, opened at the first need, and known to be the one whose manifest was read."""
        if self._file is None:
            self._file = read_one_store(self.path, FORMAT, self._open)
        return self._file

    def _open(self, manifest: dict[str, Any]) -> _Opened:
        if manifest["fingerprint"] != self.fingerprint:
            raise StoreError(f"{self.path} was built anew while in use; start again to read the new pictures")
        self.manifest = self._check(manifest)  # of the same pictures; they may lie in another order in another file
        file = LmdbFile(self.path / DATA)
        if manifest.get(HEADER_DIGEST, header_digest(file)) != header_digest(file):
            raise StoreError(f"the header of {self.path / DATA} is damaged; copy it again or build it again")
        return _Opened(file, file.database(PICTURES), file.database(INDEX))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}


def header_digest(file: LmdbFile) -> str:
    """A digest of the two pages that decide which of its last two states an LMDB file shows."""
    return hashlib.sha256(file.first_bytes()).hexdigest()[:32]

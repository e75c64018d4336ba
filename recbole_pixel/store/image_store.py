"""ImageStore: a finished LMDB file of pictures, item token -> encoded picture.

On disk a folder `NAME/images.lmdb` with two files. `data.mdb` holds two LMDB databases: `pictures` (token -> picture
file, never a pickle) and `index` (token -> its checksum, see `IndexEntry`). `manifest.json` tells what is in it.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import lmdb

from recbole_pixel.store.durable import check_size, read_manifest
from recbole_pixel.store.environment import Environment, environment
from recbole_pixel.store.errors import MissingPictureError, StoreError
from recbole_pixel.store.image_index import DATA, DATABASES, FORMAT, INDEX, PICTURES, IndexEntry, key_of


class ImageStore:
    """Pictures by item token, read from a finished store.

    Opened lazily, once per process however many stores point to the same file; may be forked, pickled, deep-copied and
    read from many threads. Every read is compared with its checksum.

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
        self.manifest: dict[str, Any] = read_manifest(self.path, FORMAT)
        check_size(self.path / DATA, self.manifest["file_bytes"])
        self._environment: Environment | None = None

    @property
    def fingerprint(self) -> str:
        """Changes whenever a token or a picture changes; what is derived from the store is keyed by it."""
        return str(self.manifest["fingerprint"])

    def __len__(self) -> int:
        return int(self.manifest["count"])

    def __contains__(self, token: object) -> bool:
        key = key_of(token) if isinstance(token, str) else None
        return key is not None and self._entry_and_picture(key)[0] is not None

    def __repr__(self) -> str:
        return f"ImageStore({str(self.path)!r}, {len(self)} pictures)"

    def tokens(self) -> list[str]:
        """All item tokens, in the order of their UTF-8 bytes."""
        opened = self._opened()
        try:
            with opened.lmdb.begin(db=opened.databases[INDEX]) as transaction:
                return [key.decode("utf-8") for key in transaction.cursor().iternext(keys=True, values=False)]
        except (lmdb.Error, UnicodeDecodeError) as error:
            raise self._damaged(error) from error

    def read(self, token: str) -> bytes:
        """The encoded picture of an item, a copy.

        Raises:
            MissingPictureError: a KeyError; the store has no picture of `token`.
            StoreError: the bytes are not the ones that were stored.
        """
        key = key_of(token)
        entry, picture = self._entry_and_picture(key) if key is not None else (None, None)
        if entry is None or picture is None:
            raise MissingPictureError(
                f"no picture of item {token!r} in {self.path} ({len(self)} pictures); see `recbole-pixel images check`"
            )
        if zlib.crc32(picture) != entry.checksum:
            raise StoreError(
                f"the picture of item {token!r} in {self.path} is damaged: its checksum differs; "
                f"copy the store again, or delete it and build it again"
            )
        return picture

    def _entry_and_picture(self, key: bytes) -> tuple[IndexEntry | None, bytes | None]:
        opened = self._opened()
        try:
            with opened.lmdb.begin() as transaction:
                entry = transaction.get(key, db=opened.databases[INDEX])
                picture = transaction.get(key, db=opened.databases[PICTURES])
        except lmdb.Error as error:
            raise self._damaged(error) from error
        return IndexEntry.unpack(entry) if entry is not None else None, picture

    def _damaged(self, error: Exception) -> StoreError:
        return StoreError(f"{self.path} is damaged ({error}); copy it again, or delete and rebuild it")

    def _opened(self) -> Environment:
        """The environment of this process; checks first that the store is still the one whose manifest was read."""
        found = self._environment
        if found is None or found.pid != os.getpid():
            current = read_manifest(self.path, FORMAT)
            if current["fingerprint"] != self.fingerprint:
                raise StoreError(f"{self.path} was built anew while in use; start again to read the new pictures")
            check_size(self.path / DATA, current["file_bytes"])
            found = self._environment = environment(self.path / DATA, DATABASES)
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_environment": None}

"""The LMDB file of an image store while it is being built."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import lmdb

from recbole_pixel.store.durable import MANIFEST, beside, file_digest, read_manifest, replace_folder, write_json
from recbole_pixel.store.environment import check_complete, promised_bytes
from recbole_pixel.store.errors import StoreError
from recbole_pixel.store.image_index import DATA, DATABASES, FORMAT, INDEX, PICTURES, IndexEntry

BATCH_RECORDS = 256
BATCH_BYTES = 64 << 20
FIRST_MAP_BYTES = 64 << 20
SETTINGS = "build.json"


class ImageStoreWriter:
    """Adds pictures to `path`.partial in batches, each safe on disk once committed; `finish` gives it its name.

    A partial left by an interrupted build with equal `settings` is gone on with, any other is discarded. Without one, a
    finished store with equal settings is copied and gone on with. The caller holds the store's BuildLock.

    Args:
        path: where the finished store goes.
        settings: JSON values that must be equal for two builds to make the same pictures.

    Attributes:
        known: token -> index entry of what is in the partial and committed.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        self.partial = beside(path, ".partial")
        self.settings = settings
        self.known: dict[str, IndexEntry] = {}
        self._batch: dict[str, tuple[IndexEntry, bytes | None] | None] = {}
        self._batch_bytes = 0

    def __enter__(self) -> ImageStoreWriter:
        if not self._reopened() and not (self._copied() and self._reopened()):
            self._fresh_folder()
            write_json(self.partial / SETTINGS, self.settings)
            self._open()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is not None and not issubclass(kind, OSError):
                self.commit()
        finally:
            self._lmdb.close()

    def add(self, token: str, picture: bytes, source_checksum: int, source_stamp: bytes) -> None:
        """Puts a picture in, or in the place of the one the token had."""
        self._queue(token, (IndexEntry(zlib.crc32(picture), source_checksum, source_stamp), picture))

    def confirm(self, token: str, source_stamp: bytes) -> None:
        """Notes that the picture of `token` is still the one of the source in its present state."""
        self._queue(token, (self.known[token]._replace(source_stamp=source_stamp), None))

    def remove(self, token: str) -> None:
        """Takes a picture out."""
        self._queue(token, None)

    def commit(self) -> None:
        """Makes everything so far safe on disk.

        Raises:
            OSError: it cannot be written; what was committed before stays.
        """
        while self._batch:
            try:
                self._write_batch()
            except lmdb.MapFullError:
                # The whole transaction is gone: make room and write the batch again.
                self._lmdb.set_mapsize(self._lmdb.info()["map_size"] * 2 + self._batch_bytes)
                continue
            except lmdb.Error as error:
                free = shutil.disk_usage(self.partial).free
                raise OSError(
                    f"cannot write {self.partial / DATA}: {error}; {free:,} bytes free on that disk; "
                    f"{len(self.known)} pictures are safe, run the same build again to go on"
                ) from error
            for token, change in self._batch.items():
                if change is None:
                    self.known.pop(token, None)
                else:
                    self.known[token] = change[0]
            self._batch, self._batch_bytes = {}, 0

    def finish(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Closes the file, writes the manifest and renames the partial to its final name.

        Args:
            facts: further entries of the manifest, JSON values.

        Returns:
            The manifest.
        """
        self.commit()
        fingerprint = self._fingerprint()
        self._lmdb.sync(True)
        self._lmdb.close()
        data = self.partial / DATA
        manifest = {
            "format": FORMAT,
            "count": len(self.known),
            "file_bytes": data.stat().st_size,
            "file_digest": file_digest(data),
            **self.settings,
            **facts,
            "fingerprint": fingerprint,
        }
        write_json(self.partial / MANIFEST, manifest)
        replace_folder(self.partial, self.path)
        (self.path / SETTINGS).unlink()  # only now: without it a kill just before the rename would cost the whole build
        return manifest

    def _queue(self, token: str, change: tuple[IndexEntry, bytes | None] | None) -> None:
        self._batch[token] = change
        self._batch_bytes += len(change[1] or b"") if change else 0
        if len(self._batch) >= BATCH_RECORDS or self._batch_bytes >= BATCH_BYTES:
            self.commit()

    def _write_batch(self) -> None:
        pictures, index = self._databases[PICTURES], self._databases[INDEX]
        with self._lmdb.begin(write=True) as transaction:
            for token, change in self._batch.items():
                key = token.encode("utf-8")
                if change is None:
                    transaction.delete(key, db=pictures)
                    transaction.delete(key, db=index)
                    continue
                transaction.put(key, change[0].pack(), db=index)
                if change[1] is not None:
                    transaction.put(key, change[1], db=pictures)
        self._fill_up()

    def _fill_up(self) -> None:
        """Makes the file as long as its header says: LMDB leaves out last pages that a transaction took and gave back.

        Else a whole file could not be told from one that was cut short.
        """
        file = self.partial / DATA
        promised = promised_bytes(file)
        if file.stat().st_size < promised:
            os.truncate(file, promised)

    def _reopened(self) -> bool:
        """Opens the partial of an interrupted build; False if there is none that fits, or a damaged one."""
        try:
            if json.loads((self.partial / SETTINGS).read_text(encoding="utf-8")) != self.settings:
                return False
            check_complete(self.partial / DATA)
        except (FileNotFoundError, NotADirectoryError, ValueError):  # StoreError and JSON's errors are ValueErrors
            return False
        try:
            self._open()
            self.known = self._read_index()
        except (lmdb.Error, struct.error, UnicodeDecodeError):
            return False
        return True

    def _copied(self) -> bool:
        """Makes the partial a copy of the finished store; False without one of equal settings, or if it is damaged."""
        try:
            manifest = read_manifest(self.path, FORMAT)
            if any(manifest.get(key) != value for key, value in self.settings.items()):
                return False
            self._fresh_folder()
            shutil.copyfile(self.path / DATA, self.partial / DATA)
        except (FileNotFoundError, StoreError):
            return False
        if file_digest(self.partial / DATA) != manifest["file_digest"]:
            return False
        write_json(self.partial / SETTINGS, self.settings)
        return True

    def _fresh_folder(self) -> None:
        if self.partial.exists():
            shutil.rmtree(self.partial)
        self.partial.mkdir(parents=True)

    def _open(self) -> None:
        file = self.partial / DATA
        grown = 2 * file.stat().st_size if file.exists() else 0
        # Not writemap: it would stretch the file to the size of the map. lock=False: the BuildLock does it.
        self._lmdb = lmdb.open(str(file), subdir=False, lock=False, max_dbs=4, map_size=max(FIRST_MAP_BYTES, grown))
        self._databases = {name: self._lmdb.open_db(name) for name in DATABASES}

    def _read_index(self) -> dict[str, IndexEntry]:
        with self._lmdb.begin(db=self._databases[INDEX]) as transaction:
            return {key.decode("utf-8"): IndexEntry.unpack(entry) for key, entry in transaction.cursor()}

    def _fingerprint(self) -> str:
        """A digest of tokens and pictures, whatever the order and the number of runs they were added in."""
        digest = hashlib.sha256()
        for token in sorted(self.known):
            digest.update(token.encode("utf-8") + b"\0" + self.known[token].checksum.to_bytes(4, "little"))
        return digest.hexdigest()[:32]

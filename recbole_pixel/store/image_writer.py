"""The LMDB file of an image store while it is being built."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

import lmdb

from recbole_pixel.store.disk_faults import named_disk_faults
from recbole_pixel.store.durable import (
    HEADER_DIGEST,
    beside,
    file_digest,
    read_manifest,
    replace_folder,
    write_json,
    write_manifest,
)
from recbole_pixel.store.errors import StoreError
from recbole_pixel.store.image_entries import verified_entries
from recbole_pixel.store.image_index import DATA, DATABASES, FORMAT, INDEX, PICTURES, IndexEntry, fingerprint_of
from recbole_pixel.store.image_store import header_digest
from recbole_pixel.store.lmdb_file import LmdbFile, read_header

BATCH_RECORDS = 256
BATCH_BYTES = 64 << 20
FIRST_MAP_BYTES = 64 << 20
SETTINGS = "build.json"


def _engine() -> dict[str, Any]:
    """What makes a binding that has LMDB 1.0 too write the data format of 0.9, whatever the environment asks for."""
    try:
        lmdb.version(lib_version=0)
    except (TypeError, lmdb.Error):  # it has but one
        return {}
    return {"lib_version": 0}


ENGINE = _engine()


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
        with named_disk_faults(self.path):
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
                with named_disk_faults(self.path):
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
        with named_disk_faults(self.path):
            self._lmdb.sync(True)
            self._lmdb.close()
            self._refuse_other_than_written()
            data = self.partial / DATA
            manifest = write_manifest(
                self.partial,
                {
                    "format": FORMAT,
                    "count": len(self.known),
                    "file_bytes": data.stat().st_size,
                    "file_digest": file_digest(data),
                    HEADER_DIGEST: header_digest(LmdbFile(data)),
                    **self.settings,
                    **facts,
                    "fingerprint": fingerprint_of(self.known),
                },
            )
            replace_folder(self.partial, self.path)
            (self.path / SETTINGS).unlink()  # only now: without it a kill before the rename would cost the whole build
        return manifest

    def _refuse_other_than_written(self) -> None:
        """Reads all back, once, before the store gets its name.

        Raises:
            StoreError: it is not what was written; the next build begins anew.
        """
        try:
            if verified_entries(self.partial / DATA) == self.known:
                return
            reason = f"it does not hold the {len(self.known)} pictures that were written"
        except StoreError as error:
            reason = str(error)
        (self.partial / SETTINGS).unlink()
        raise StoreError(
            f"{self.partial} was damaged while it was written, and gets no name: {reason}; look after the disk and the "
            f"memory of this machine, then run the same build again"
        )

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
        promised = read_header(file).promised_bytes
        if file.stat().st_size < promised:
            os.truncate(file, promised)

    def _reopened(self) -> bool:
        """Opens the partial of an interrupted build; False if there is none that fits, or a damaged one.

        It is read in full first: a picture that the disk changed since would else end up in a store that looks whole.
        """
        try:
            if json.loads((self.partial / SETTINGS).read_text(encoding="utf-8")) != self.settings:
                return False
            self.known = verified_entries(self.partial / DATA)
        except (FileNotFoundError, NotADirectoryError, ValueError):  # StoreError and JSON's errors are ValueErrors
            return False
        self._open()
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
        size = max(FIRST_MAP_BYTES, grown)
        try:
            self._lmdb = lmdb.open(str(file), subdir=False, lock=False, max_dbs=4, map_size=size, **ENGINE)
            self._databases = {name: self._lmdb.open_db(name) for name in DATABASES}
        except lmdb.Error as error:
            free = shutil.disk_usage(self.partial).free
            raise OSError(f"cannot write {file}: {error}; {free:,} bytes free on that disk") from error

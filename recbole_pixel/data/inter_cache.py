"""Columns of an ``.inter`` file as arrays on disk, so that a file is parsed once; they are memory-mapped when read."""

from __future__ import annotations

import json
import os
import shutil
import time
import zlib
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from recbole_pixel.data.inter_file import BLOCK, Column, InterFile, Tokens, digest_of
from recbole_pixel.store.build_lock import BuildLock
from recbole_pixel.store.durable import MANIFEST, beside, recover, replace_folder, write_json

FORMAT = "recbole_pixel.inter.1"
SETTLED = 2 * 10**9
"""Nanoseconds after which a file's times tell of any further write: clocks of file systems are coarse."""


class InterCache:
    """The cached columns of one file, read with one choice of columns.

    Args:
        folder: where caches lie.
        path: the atomic file.
        kinds: its columns by their names in the header, ``token`` or ``float``.
        separator: between fields.
    """

    def __init__(self, folder: Path, path: Path, kinds: Mapping[str, str], separator: str) -> None:
        shaped_by = json.dumps([FORMAT, path.name, dict(kinds), separator])
        self.path, self.kinds = path, kinds
        self.folder = folder / f"{path.name}-{sha256(shaped_by.encode()).hexdigest()[:12]}"

    def load(self) -> dict[str, Column] | None:
        """The columns, or None where the file changed, or the cache is not there or damaged."""
        try:
            manifest = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
            if manifest["format"] != FORMAT or not self._is_of_this_file(manifest):
                return None
            if manifest["checksums"] != _checksums(self.folder):
                return None
            return {name: self._load_column(number, kind) for number, (name, kind) in enumerate(self.kinds.items())}
        except (OSError, ValueError, KeyError, TypeError, EOFError, pa.ArrowException):
            return None

    def save(self, inter: InterFile, state: Mapping[str, int]) -> None:
        """Writes the columns under a temporary name and renames them.

        Args:
            inter: what was read.
            state: :func:`file_state` from before it was read; if the file changed since, nothing is written.

        Raises:
            BlockingIOError: another process is writing the same cache.
            OSError: the folder cannot be written.
        """
        if not _is_same(state, file_state(self.path)):
            return
        with BuildLock(self.folder):
            recover(self.folder)
            partial = beside(self.folder, ".partial")
            shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
            partial.mkdir()
            for number, column in enumerate(inter.columns.values()):
                _save_column(partial, number, column)
            noted = {"sha256": inter.digest, "state": dict(state), "checksums": _checksums(partial)}
            write_json(partial / MANIFEST, {"format": FORMAT, **noted})
            replace_folder(partial, self.folder)

    def _is_of_this_file(self, manifest: dict[str, Any]) -> bool:
        """By size and times where these are settled, else by its hash, whose answer is noted."""
        state, known = file_state(self.path), manifest["state"]
        if _is_same(state, known) and known["changed"] + SETTLED < known["seen"]:
            return True
        if state["size"] != known["size"] or digest_of(self.path) != manifest["sha256"]:
            return False
        if _is_same(state, file_state(self.path)) and os.access(self.folder, os.W_OK):
            write_json(self.folder / MANIFEST, {**manifest, "state": state})
        return True

    def _load_column(self, number: int, kind: str) -> Column:
        # mapped "c": pandas may write, to its own copy
        values = np.load(self.folder / f"{number}.npy", mmap_mode="c", allow_pickle=False)
        if kind == "float":
            return values
        with pa.memory_map(str(self.folder / f"{number}.arrow")) as stream:
            names = pa.ipc.open_file(stream).read_all().column(0)
        return Tokens(values, names.chunk(0))


def file_state(path: Path) -> dict[str, int]:
    """Size and times of a file in nanoseconds, and when they were ``seen``."""
    found = path.stat()
    return {
        "size": found.st_size,
        "modified": found.st_mtime_ns,
        "changed": max(found.st_mtime_ns, found.st_ctime_ns),
        "seen": time.time_ns(),
    }


def _is_same(one: Mapping[str, int], other: Mapping[str, int]) -> bool:
    return all(one[key] == other[key] for key in ("size", "modified", "changed"))


def _checksums(folder: Path) -> dict[str, int]:
    """CRC-32 of each file of columns by its name."""
    return {path.name: _checksum(path) for path in sorted(folder.iterdir()) if path.suffix in (".npy", ".arrow")}


def _checksum(path: Path) -> int:
    found = 0
    with open(path, "rb") as stream:
        while data := stream.read(BLOCK):
            found = zlib.crc32(data, found)
    return found


def _save_column(folder: Path, number: int, column: Column) -> None:
    with open(folder / f"{number}.npy", "wb") as stream:
        np.save(stream, column.codes if isinstance(column, Tokens) else column)
        os.fsync(stream.fileno())
    if isinstance(column, Tokens):
        table = pa.table({"names": column.names})
        with (
            pa.OSFile(str(folder / f"{number}.arrow"), "wb") as sink,
            pa.ipc.new_file(sink, table.schema) as writer,
        ):
            writer.write_table(table, max_chunksize=max(1, len(column.names)))

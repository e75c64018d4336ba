"""Writes an ArrayStore, in any number of runs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recbole_pixel.store.array_store import CHECKSUMS, DATA, FORMAT, TOKENS, as_json, fingerprint_of
from recbole_pixel.store.build_lock import BuildLock
from recbole_pixel.store.disk_faults import named_disk_faults
from recbole_pixel.store.durable import beside, ready_to_replace, replace_folder, write_json, write_manifest
from recbole_pixel.store.errors import StoreError

PROGRESS = "progress.json"
SYNC_SECONDS = 2.0


class ArrayStoreWriter:
    """Writes records to `path`.partial; leaving the `with` block complete gives the store its name.

    Left by an exception, or killed, the partial stays: a writer with equal tokens, shape, dtype and provenance goes on
    at `written`, any other starts afresh. One writer at a time; `write` may be called from several threads.

    Args:
        path: the folder of the finished store; an older one there is replaced.
        tokens: item tokens by record number, distinct.
        shape: of one array.
        dtype: bool, integer or float.
        provenance: what the arrays are made of and how; JSON values.

    Raises:
        ValueError: no tokens, a token twice, an empty shape, or a dtype that is no plain number.
        BlockingIOError: on entering: another process is writing the same store.
        FileExistsError: on entering: `path` is something else than an array store.
        StoreError: on leaving: records are missing.
    """

    def __init__(
        self, path: str | Path, tokens: Sequence[str], shape: Sequence[int], dtype: Any, provenance: dict[str, Any]
    ) -> None:
        self.path = Path(path).absolute()
        self.partial = beside(self.path, ".partial")
        self.tokens, self.shape, self.dtype = list(tokens), tuple(int(side) for side in shape), np.dtype(dtype)
        self.provenance = as_json(provenance)
        self._check()
        self.record_bytes = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
        self._token_bytes = json.dumps(self.tokens, ensure_ascii=True).encode("ascii")
        self._header = {
            "tokens_digest": hashlib.sha256(self._token_bytes).hexdigest(),
            "shape": list(self.shape),
            "dtype": self.dtype.str,
            "provenance": self.provenance,
        }
        self._written = 0
        self._ahead: dict[int, int] = {}
        self._guard = threading.Lock()

    @property
    def written(self) -> int:
        """Records 0 to `written` - 1 are in the file, without a gap."""
        return self._written

    def __enter__(self) -> ArrayStoreWriter:
        self._lock = BuildLock(self.path)
        self._lock.__enter__()
        try:
            with named_disk_faults(self.path):
                self._begin()
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        self._synced_at = time.monotonic()
        return self

    def _begin(self) -> None:
        ready_to_replace(self.path, FORMAT, PROGRESS)
        self._written = self._left_by_earlier_run()
        if not self._written:
            self._start_afresh()
        self._data = os.open(self.partial / DATA, os.O_RDWR | os.O_CREAT, 0o644)
        self._checksums = os.open(self.partial / CHECKSUMS, os.O_RDWR | os.O_CREAT, 0o644)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            with named_disk_faults(self.path):
                self._sync()
                if kind is None:
                    self._finish()
        except OSError:
            if kind is None:  # else the first error says what went wrong
                raise
        finally:
            os.close(self._data)
            os.close(self._checksums)
            self._lock.__exit__(None, None, None)

    def write(self, start: int, block: np.ndarray) -> None:
        """Writes records `start` to `start` + n - 1.

        Args:
            start: record number of the first.
            block: shape (n, *shape), of the store's dtype; nothing is converted.

        Raises:
            ValueError: another shape or dtype.
            IndexError: records outside of the store.
            OSError: the disk is full; `written` records are kept.
        """
        if block.dtype != self.dtype or block.shape[1:] != self.shape:
            raise ValueError(
                f"the block is {block.dtype} of shape {block.shape}, expected {self.dtype} of shape "
                f"(n, {', '.join(map(str, self.shape))})"
            )
        if start < 0 or start + len(block) > len(self.tokens):
            raise IndexError(f"records {start} to {start + len(block) - 1} of a store of {len(self.tokens)}")
        block = np.ascontiguousarray(block)
        checksums = np.array([zlib.crc32(record) for record in block], dtype="<u4")
        self._put(self._data, block, start * self.record_bytes)
        self._put(self._checksums, checksums, start * 4)
        with self._guard:
            self._ahead[start] = max(start + len(block), self._ahead.get(start, 0))
            self._written = self._without_gap()
            if time.monotonic() - self._synced_at > SYNC_SECONDS:
                with named_disk_faults(self.path):
                    self._sync()

    def _check(self) -> None:
        if not self.tokens or len(set(self.tokens)) != len(self.tokens):
            twice = next((token for token, n in Counter(self.tokens).items() if n > 1), None)
            raise ValueError("no tokens, expected at least one" if twice is None else f"token {twice!r} comes twice")
        if self.dtype.kind not in "biuf" or min(self.shape, default=1) < 1:
            raise ValueError(f"arrays of {self.dtype} and shape {self.shape}: expected plain numbers and no side of 0")

    def _left_by_earlier_run(self) -> int:
        """Records that an interrupted run of the same build left safe on disk: up to the first that is damaged."""
        try:
            progress = json.loads((self.partial / PROGRESS).read_text(encoding="utf-8"))
            n_promised = int(progress.pop("written"))
            if progress != self._header or not 0 <= n_promised <= len(self.tokens):
                return 0
            checksums = np.fromfile(self.partial / CHECKSUMS, "<u4", n_promised)
            return self._n_undamaged(checksums)
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            return 0

    def _n_undamaged(self, checksums: np.ndarray) -> int:
        """How many records from the first on are as their checksums say; shape of these: (n,)."""
        with open(self.partial / DATA, "rb") as stream:
            for i, checksum in enumerate(checksums.tolist()):
                record = stream.read(self.record_bytes)
                if len(record) != self.record_bytes or zlib.crc32(record) != checksum:
                    return i
        return len(checksums)

    def _start_afresh(self) -> None:
        if self.partial.exists():
            shutil.rmtree(self.partial)
        self.partial.mkdir(parents=True)

    def _put(self, handle: int, array: np.ndarray, offset: int) -> None:
        part = array.reshape(-1).view(np.uint8).data
        while part:
            try:
                n_written = os.pwrite(handle, part, offset)
            except OSError as error:
                advice = (
                    f"{error.strerror}: {self._written} of {len(self.tokens)} records are written; "
                    f"make room and run the same build again to go on"
                )
                raise OSError(error.errno, advice, str(self.partial)) from error
            part, offset = part[n_written:], offset + n_written

    def _without_gap(self) -> int:
        """The end of the records that join those written before, whatever the order of the blocks."""
        end = self._written
        for start in sorted(self._ahead):
            if start > end:
                break
            end = max(end, self._ahead.pop(start))
        return end

    def _sync(self) -> None:
        """Notes the progress, after what it promises is on the disk."""
        n_written = self._written
        os.fsync(self._data)
        os.fsync(self._checksums)
        write_json(self.partial / PROGRESS, {**self._header, "written": n_written})
        self._synced_at = time.monotonic()

    def _finish(self) -> None:
        if self._written != len(self.tokens):
            raise StoreError(
                f"{self._written} of {len(self.tokens)} records were written to {self.path}; "
                f"they are kept, run the same build again to write the rest"
            )
        checksums = (self.partial / CHECKSUMS).read_bytes()
        facts = {
            **self._header,
            "count": len(self.tokens),
            "file_bytes": len(self.tokens) * self.record_bytes,
            "checksums_digest": hashlib.sha256(checksums).hexdigest(),
        }
        self._write_tokens()
        write_manifest(self.partial, {"format": FORMAT, **facts, "fingerprint": fingerprint_of(facts)})
        replace_folder(self.partial, self.path)
        (self.path / PROGRESS).unlink()

    def _write_tokens(self) -> None:
        with open(self.partial / TOKENS, "wb") as stream:
            stream.write(self._token_bytes)
            stream.flush()
            os.fsync(stream.fileno())

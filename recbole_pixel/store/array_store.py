"""ArrayStore: a finished flat file of equal arrays, item token -> array of fixed shape and type.

On disk a folder with `data.bin` (the arrays one after the other, in C order, nothing else), `checksums.bin` (a CRC-32
each), `tokens.json` and `manifest.json`. Decoded pixels, activations of a frozen trunk and frozen features live here.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import zlib
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from recbole_pixel.store.array_reading import read_records, read_together, take_records
from recbole_pixel.store.durable import MANIFEST, check_size, read_one_store
from recbole_pixel.store.errors import StoreError
from recbole_pixel.store.free_memory import fits_in_memory

FORMAT = "recbole_pixel.arrays.1"
DATA, CHECKSUMS, TOKENS = "data.bin", "checksums.bin", "tokens.json"
MEAN_TOKEN = "\0mean"  # token of the mean of all items, which stands in for what is missing


class ArrayStore:
    """Arrays by item token, read from a finished store by record number.

    May be forked, pickled, deep-copied and read from many threads.

    Args:
        path: the folder of the store.
        mapped: read through a memory map (else by one `pread` a run of records); by default if the store fits in half
            of the free memory: a map of a store larger than memory is 7 to 9 times slower.

    Raises:
        FileNotFoundError: nothing there.
        StoreError: unfinished, damaged, cut short, or not an array store.

    Attributes:
        shape: of one array.
        dtype: of one array.
        tokens: item tokens by record number.
        provenance: what the arrays were made of and how; JSON values.
        fingerprint: changes whenever a token, an array or the provenance changes.
    """

    def __init__(self, path: str | Path, *, mapped: bool | None = None) -> None:
        self.path = Path(path).absolute()
        manifest = read_one_store(self.path, FORMAT, self._open)
        self.shape: tuple[int, ...] = tuple(manifest["shape"])
        self.dtype = np.dtype(manifest["dtype"])
        self.provenance: dict[str, Any] = manifest["provenance"]
        self.fingerprint: str = manifest["fingerprint"]
        self.record_bytes = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
        self.is_mapped = fits_in_memory(manifest["file_bytes"]) if mapped is None else mapped
        self._checksums_digest: str = manifest["checksums_digest"]

    def _open(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Opens the file of the arrays and reads the tokens that a manifest describes; returns the manifest."""
        _check_fingerprint(self.path, manifest)
        check_size(self.path / DATA, manifest["file_bytes"])
        # Read by pread only, which has no file offset: a forked child may share the handle.
        self._file = open(self.path / DATA, "rb", buffering=0)  # noqa: SIM115 - lives as long as the object
        self.tokens = self._read_tokens(manifest["tokens_digest"])
        return manifest

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._position_of

    def __repr__(self) -> str:
        return f"ArrayStore({str(self.path)!r}, {len(self)} x {self.shape} {self.dtype})"

    def positions(self, tokens: Sequence[str]) -> np.ndarray:
        """Record numbers of item tokens: int64, shape (len(tokens),).

        Raises:
            LookupError: a token is not in the store; names the first.
        """
        found, position_of = np.empty(len(tokens), dtype=np.int64), self._position_of
        for i, token in enumerate(tokens):
            position = position_of.get(token)
            if position is None:
                raise LookupError(
                    f"item {token!r} is not in {self.path} ({len(self)} items, e.g. {self.tokens[:3]}); "
                    f"build it again from the present pictures"
                )
            found[i] = position
        return found

    def gather(self, positions: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The arrays at some record numbers, a copy: shape (n, *shape).

        Args:
            positions: integers, shape (n,), in any order, repeats allowed.
            out: where to put them, shape (at least n, *shape), C-contiguous, of the store's dtype. Reuse it: a fresh
                batch for every step costs 7 times as much as the reading.

        Returns:
            `out[:n]` if `out` is given, else a new array.

        Raises:
            IndexError: a position below 0 or not below len(self).
            ValueError: `out` is too small, or of another shape, dtype or layout.
        """
        positions = np.asarray(positions, dtype=np.int64)
        if len(positions) and (positions.min() < 0 or positions.max() >= len(self)):
            raise IndexError(f"positions from {positions.min()} to {positions.max()}, {self} has 0 to {len(self) - 1}")
        target = self._target(len(positions), out)
        if self.is_mapped:
            self._refuse_shortened()
            take_records(self._map, positions, target)
        else:
            self._read(positions, target, read_together)
        return target

    def preload(self) -> None:
        """Reads the whole store into memory before anybody asks for it, and keeps it mapped.

        Processes that do so share the memory, and it is given up when there is not enough of it; a private copy would
        be gathered from 1.4 times as fast, and would be neither.

        Raises:
            ValueError: the store is not read through a memory map.
        """
        if not self.is_mapped:
            raise ValueError(f"{self} is read record by record; open it with mapped=True to preload it")
        self._refuse_shortened()
        flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)  # not everywhere; without, pages come when touched
        pages = mmap.mmap(self._file.fileno(), 0, flags=flags, prot=mmap.PROT_READ)
        self._map = np.frombuffer(pages, dtype=self.dtype).reshape(len(self), *self.shape)

    def verify(self) -> list[str]:
        """The tokens whose arrays are not the ones that were written; reads all of the store.

        Raises:
            StoreError: the file of checksums itself is damaged.
        """
        content = (self.path / CHECKSUMS).read_bytes()
        if hashlib.sha256(content).hexdigest() != self._checksums_digest:
            raise StoreError(f"{self.path / CHECKSUMS} is damaged; delete {self.path} and build it again")
        record, damaged = np.empty((1, *self.shape), self.dtype), []
        for i, checksum in enumerate(np.frombuffer(content, "<u4")):
            self._read(np.array([i]), record, read_records)
            if zlib.crc32(record.data) != checksum:
                damaged.append(self.tokens[i])
        return damaged

    def _target(self, n: int, out: np.ndarray | None) -> np.ndarray:
        if out is None:
            return np.empty((n, *self.shape), self.dtype)
        if out.shape[1:] != self.shape or len(out) < n or out.dtype != self.dtype or not out.flags.c_contiguous:
            layout = "C-contiguous" if out.flags.c_contiguous else "not C-contiguous"
            raise ValueError(
                f"out is {out.dtype} of shape {out.shape}, {layout}; expected {self.dtype} of shape "
                f"({n} or more, {', '.join(map(str, self.shape))}), C-contiguous"
            )
        return out[:n]

    def _read_tokens(self, digest: str) -> list[str]:
        try:
            content = (self.path / TOKENS).read_bytes()
        except FileNotFoundError:
            content = b""
        if hashlib.sha256(content).hexdigest() != digest:
            raise StoreError(f"{self.path / TOKENS} is missing or damaged; delete {self.path} and build it again")
        tokens: list[str] = json.loads(content)
        return tokens

    @cached_property
    def _position_of(self) -> dict[str, int]:
        return {token: position for position, token in enumerate(self.tokens)}

    @cached_property
    def _map(self) -> np.ndarray:
        self._refuse_shortened()
        pages = mmap.mmap(self._file.fileno(), len(self) * self.record_bytes, prot=mmap.PROT_READ)
        return np.frombuffer(pages, dtype=self.dtype).reshape(len(self), *self.shape)

    def _read(self, positions: np.ndarray, out: np.ndarray, reading: Callable[..., None]) -> None:
        try:
            reading(self._file.fileno(), self.record_bytes, positions, out)
        except OSError as error:
            raise OSError(f"{self.path / DATA}: {error}; copy the store again, or delete it and run again") from error

    def _refuse_shortened(self) -> None:
        """Raises StoreError if the open file is no longer whole: touching a map behind its end kills the process."""
        found, expected = os.fstat(self._file.fileno()).st_size, len(self) * self.record_bytes
        if found != expected:
            raise StoreError(
                f"{self.path / DATA} holds {found:,} bytes, {expected:,} when it was opened: it was cut short while in "
                f"use; copy the store again, or delete {self.path} and run again"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.path, self.is_mapped, self.fingerprint)


def _reopened(path: Path, mapped: bool, fingerprint: str) -> ArrayStore:
    store = ArrayStore(path, mapped=mapped)
    if store.fingerprint != fingerprint:
        raise StoreError(f"{path} was built anew while in use; start again to read the new arrays")
    return store


def _check_fingerprint(path: Path, manifest: dict[str, Any]) -> None:
    """Raises StoreError unless a manifest is as the writer left it: a changed shape would cut the arrays elsewhere."""
    facts = {key: value for key, value in manifest.items() if key not in ("format", "fingerprint")}
    if manifest.get("fingerprint") != fingerprint_of(facts):
        raise StoreError(f"{path / MANIFEST} is damaged: its fingerprint differs; delete {path} and build it again")


def fingerprint_of(facts: dict[str, Any]) -> str:
    """A digest of what a manifest says of tokens, arrays and provenance."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def open_or_none(path: str | Path, provenance: dict[str, Any]) -> ArrayStore | None:
    """The finished store at `path` if it was made as `provenance` says, None if it is stale or there is none.

    Raises:
        StoreError: there is one, but damaged.
    """
    if not os.path.isdir(path):
        return None
    store = ArrayStore(path)
    return store if store.provenance == as_json(provenance) else None


def as_json(provenance: dict[str, Any]) -> dict[str, Any]:
    """`provenance` as it reads after a round trip through JSON: tuples are lists, keys are strings.

    Raises:
        TypeError: it holds something JSON cannot.
    """
    try:
        value: dict[str, Any] = json.loads(json.dumps(provenance, sort_keys=True))
    except TypeError as error:
        raise TypeError(f"provenance must hold plain values only (numbers, text, lists, dicts): {error}") from error
    return value

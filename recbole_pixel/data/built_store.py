"""Stores of an array per item that are built once, and opened by every run that needs the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from json import dumps
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from recbole_pixel.store import ArrayStore, ArrayStoreWriter, open_or_none
from recbole_pixel.store.disk_faults import named_disk_faults

BLOCK = 256  # records made at a time
WAIT_SECONDS = 0.5  # between looks at a store that another process is building


def blocks_of(n_records: int, start: int, size: int = BLOCK) -> Iterator[slice]:
    """Slices of ``size`` records each, the last one shorter, from the ``start``-th of ``n_records`` on."""
    for first in range(start, n_records, size):
        yield slice(first, min(first + size, n_records))


def built_store(
    folder: Path,
    name: str,
    tokens: list[str],
    shape: tuple[int, ...],
    dtype: np.dtype,
    provenance: dict[str, Any],
    blocks: Callable[[int], Iterator[np.ndarray]],
) -> ArrayStore:
    """The store that ``provenance`` describes: opened, resumed, built with a progress bar, or waited for.

    Args:
        folder: where it lies; made if it is not there.
        name: what it is called, in front of a key of its provenance.
        tokens: of its records, in their order.
        shape: of a record.
        dtype: of its numbers.
        provenance: all that its content depends on, as plain values.
        blocks: yields the records from the given one on, in blocks (n, *shape).
    """
    key = sha256(dumps(provenance, sort_keys=True).encode()).hexdigest()[:12]
    path, is_waiting = folder / f"{name}-{key}.array", False
    with named_disk_faults(folder):
        folder.mkdir(parents=True, exist_ok=True)
    while (store := open_or_none(path, provenance)) is None:
        try:
            _build(ArrayStoreWriter(path, tokens, shape, dtype, provenance), f"Preparing {name}", blocks)
        except BlockingIOError as error:  # of a run that was started beside this one
            if not is_waiting:
                getLogger().warning(f"waiting: {error}")
            is_waiting = True
            time.sleep(WAIT_SECONDS)
    return store


def _build(writer: ArrayStoreWriter, title: str, blocks: Callable[[int], Iterator[np.ndarray]]) -> None:
    with writer, tqdm(total=len(writer.tokens), initial=writer.written, desc=title, unit="item") as progress:
        for block in blocks(writer.written):
            writer.write(writer.written, block)
            progress.update(len(block))

"""Writes feature stores: one record an item, and the mean of vectors, which stands in for items that have none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from recbole_pixel.store import MEAN_TOKEN, ArrayStore, ArrayStoreWriter
from recbole_pixel.store.array_store import DATA, as_json

DTYPES = ("float32", "float16")
MEAN_BYTES = 1 << 26  # read at a time when the mean is taken

Blocks = Callable[[int], Iterator[np.ndarray]]
"""From the number of records that are already written to the blocks of the others, each of shape (n, ...)."""


def kept(
    path: Path, provenance: dict[str, Any], *, may_differ: Sequence[str] = (), overwrite: bool = False
) -> ArrayStore | None:
    """The finished store at ``path`` if it was made as ``provenance`` says; None if it has to be built.

    Args:
        path: the folder of the store.
        provenance: what is wanted.
        may_differ: keys of ``provenance`` that tell the state of the source: where only these differ, what is there is
            out of date, and is built again.
        overwrite: build again whatever else differs.

    Raises:
        FileExistsError: what is there was made otherwise.
        StoreError: it is damaged, or no array store.
    """
    if not path.is_dir():
        return None
    store, wanted = ArrayStore(path), as_json(provenance)
    missing = object()
    differing = [
        key
        for key in sorted({*wanted, *store.provenance})
        if wanted.get(key, missing) != store.provenance.get(key, missing)
    ]
    if not differing:
        return store
    if overwrite or set(differing) <= set(may_differ):
        return None
    shown = ", ".join(f"{key} {store.provenance.get(key)!r} (wanted: {wanted.get(key)!r})" for key in differing[:4])
    raise FileExistsError(
        f"{path} was made otherwise: {shown}; name another place with --out, or replace it with --overwrite"
    )


def write_features(
    path: Path,
    tokens: Sequence[str],
    shape: Sequence[int],
    dtype: str,
    provenance: dict[str, Any],
    blocks: Blocks,
    *,
    progress: bool = True,
) -> ArrayStore:
    """The store of the arrays that ``blocks`` yields, and of their mean; goes on where an earlier run stopped.

    Args:
        path: the folder to write; an older store there is replaced at the end.
        tokens: of the items, in the order of the blocks.
        shape: of one array.
        dtype: one of :data:`DTYPES`; blocks of other types are converted.
        provenance: see ``ArrayStore``.
        blocks: gives the arrays.
        progress: show a bar.

    Raises:
        ValueError: an array holds numbers that are not finite, or not in ``dtype``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    n_items = len(tokens)
    with (
        ArrayStoreWriter(path, [*tokens, MEAN_TOKEN], shape, np.dtype(dtype), provenance) as writer,
        tqdm(total=n_items, initial=writer.written, desc=path.name, unit="item", disable=not progress) as bar,
    ):
        for block in blocks(writer.written) if writer.written < n_items else ():
            block = converted(block, dtype)
            _refuse_nonfinite(block, tokens[writer.written :], dtype)
            writer.write(writer.written, block)
            bar.update(len(block))
        if writer.written == n_items:
            writer.write(n_items, converted(_mean(writer, n_items)[None], dtype))
    return ArrayStore(path)


def write_codes(path: Path, tokens: Sequence[str], codes: np.ndarray, provenance: dict[str, Any]) -> ArrayStore:
    """The store of semantic ids, or of their codebooks, written in one piece; there is no mean of codes.

    Args:
        path: the folder to write; an older store there is replaced at the end.
        tokens: of the arrays.
        codes: shape (n, ...).
        provenance: see ``ArrayStore``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with ArrayStoreWriter(path, tokens, codes.shape[1:], codes.dtype, provenance) as writer:
        # All anew: a partial of the same provenance may hold codes of codebooks that were never finished.
        writer.write(0, codes)
    return ArrayStore(path)


def converted(block: np.ndarray, dtype: str) -> np.ndarray:
    """``block`` in another float type; what is too large for it becomes infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return block.astype(dtype, copy=False)


def is_finite(block: np.ndarray) -> np.ndarray:
    """Whether each array of ``block`` (n, ...) holds finite numbers only: bool, shape (n,)."""
    finite: np.ndarray = np.isfinite(block).reshape(len(block), -1).all(axis=1)
    return finite


def _refuse_nonfinite(block: np.ndarray, tokens: Sequence[str], dtype: str) -> None:
    wrong = [tokens[i] for i in np.flatnonzero(~is_finite(block)).tolist()]
    if wrong:
        raise ValueError(
            f"the features of {len(wrong)} items, e.g. {wrong[:3]}, hold numbers that are not finite in {dtype}; "
            f"look at the weights and the pictures, or store and compute in float32"
        )


def _mean(writer: ArrayStoreWriter, n_items: int) -> np.ndarray:
    """The mean of the first ``n_items`` records, read back: an interrupted run does not have those it wrote before."""
    records = np.memmap(writer.partial / DATA, dtype=writer.dtype, mode="r", shape=(n_items, *writer.shape))
    total = np.zeros(writer.shape)
    step = max(1, MEAN_BYTES // writer.record_bytes)
    for start in range(0, n_items, step):
        total += records[start : start + step].sum(axis=0, dtype=np.float64)
    return total / n_items

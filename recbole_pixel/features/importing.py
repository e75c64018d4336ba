"""Brings features, or semantic ids, from elsewhere into a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from recbole_pixel.features.sources import FeatureSource
from recbole_pixel.features.writing import converted, is_finite, kept, write_codes, write_features
from recbole_pixel.store import ArrayStore

SOURCE_STATE = ("source_sha256", "source_bytes", "source_mtime")


def import_features(
    source: FeatureSource, path: Path, *, dtype: str = "float32", overwrite: bool = False, progress: bool = True
) -> tuple[ArrayStore, bool]:
    """Writes the arrays of ``source``, and the mean of features, into a store.

    All of the source is looked at before anything is written.

    Args:
        source: see :func:`recbole_pixel.features.sources.open_features`.
        path: the store to write.
        dtype: of the stored numbers, ``float32`` or ``float16``; codes are int32.
        overwrite: replace features there that were made of something else.
        progress: show bars.

    Returns:
        The store, and whether it is new: one that was made of this file is left as it is.

    Raises:
        ValueError: arrays hold numbers that are not finite, or codes below 0; says how many, and whose.
        FileExistsError: there are features of another source, and not ``overwrite``.
    """
    if source.is_codes:
        dtype = "int32"
    made_of = {**source.provenance, "dtype": dtype}
    store = kept(path, made_of, may_differ=SOURCE_STATE, overwrite=overwrite)
    if store is not None:
        return store, False
    if source.is_codes:
        return write_codes(path, source.tokens, _codes(source), made_of), True
    _refuse_nonfinite(source, dtype, progress)
    store = write_features(path, source.tokens, source.shape, dtype, made_of, source.blocks, progress=progress)
    return store, True


def _codes(source: FeatureSource) -> np.ndarray:
    """All semantic ids, int32, (N, levels)."""
    codes = np.concatenate(list(source.blocks(0)))
    highest = np.iinfo(np.int32).max
    wrong = [source.tokens[place] for place in np.flatnonzero(((codes < 0) | (codes > highest)).any(axis=1)).tolist()]
    if wrong:
        raise ValueError(
            f"{source.path}: {len(wrong)} of {len(source.tokens)} items have codes that are not from 0 to {highest}, "
            f"e.g. {wrong[:5]}; give every level codes 0, 1, ... of its own, without marks for padding"
        )
    return codes.astype(np.int32)


def _refuse_nonfinite(source: FeatureSource, dtype: str, progress: bool) -> None:
    peaks = source.peaks if source.peaks is not None else _peaks(source, progress)
    wrong = [source.tokens[place] for place in np.flatnonzero(~is_finite(converted(peaks, dtype))).tolist()]
    if wrong:
        raise ValueError(
            f"{source.path}: the arrays of {len(wrong)} of {len(source.tokens)} items hold numbers that are not finite "
            f"in {dtype}, e.g. of {wrong[:5]}; leave these items out or repair them: `missing_image: mean` gives items "
            f"without features the mean"
        )


def _peaks(source: FeatureSource, progress: bool) -> np.ndarray:
    """See :class:`FeatureSource`; reads all of the file."""
    found: list[np.ndarray] = []
    with tqdm(total=len(source.tokens), desc=f"Checking {source.path.name}", unit="item", disable=not progress) as bar:
        for block in source.blocks(0):
            found.append(np.abs(block).reshape(len(block), -1).max(axis=1).astype(np.float64))
            bar.update(len(block))
    return np.concatenate(found)

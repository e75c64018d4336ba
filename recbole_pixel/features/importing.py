"""Brings features from elsewhere into a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from recbole_pixel.features.sources import FeatureSource
from recbole_pixel.features.writing import converted, is_finite, kept, write_features
from recbole_pixel.store import ArrayStore

SOURCE_STATE = ("source_sha256", "source_bytes", "source_mtime")


def import_features(
    source: FeatureSource, path: Path, *, dtype: str = "float32", overwrite: bool = False, progress: bool = True
) -> tuple[ArrayStore, bool]:
    """Writes the arrays of ``source``, and their mean, into a store.

    All of the source is looked at before anything is written.

    Args:
        source: see :func:`recbole_pixel.features.sources.open_features`.
        path: the store to write.
        dtype: of the stored numbers, ``float32`` or ``float16``.
        overwrite: replace features there that were made of something else.
        progress: show bars.

    Returns:
        The store, and whether it is new: one that was made of this file is left as it is.

    Raises:
        ValueError: arrays hold numbers that are not finite; says how many, and whose.
        FileExistsError: there are features of another source, and not ``overwrite``.
    """
    made_of = {**source.provenance, "dtype": dtype}
    store = kept(path, made_of, may_differ=SOURCE_STATE, overwrite=overwrite)
    if store is not None:
        return store, False
    _refuse_nonfinite(source, dtype, progress)
    store = write_features(path, source.tokens, source.shape, dtype, made_of, source.blocks, progress=progress)
    return store, True


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

"""Brings features from elsewhere into a store."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from recbole_pixel.features.sources import FeatureSource
from recbole_pixel.features.writing import converted, is_finite, kept, write_features
from recbole_pixel.store import ArrayStore

SOURCE_STATE = ("source_sha256", "source_bytes", "source_mtime")


def import_features(
    source: FeatureSource, path: Path, *, dtype: str = "float32", overwrite: bool = False, progress: bool = True
) -> tuple[ArrayStore, bool]:
    """Writes the arrays of ``source``, and their mean, into a store.

    The source is read twice: all of it is looked at before anything is written.

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
    wrong: list[str] = []
    place = 0
    with tqdm(total=len(source.tokens), desc="Checking", unit="item", disable=not progress) as bar:
        for block in source.blocks(0):
            finite = is_finite(converted(block, dtype))
            wrong += [source.tokens[place + row] for row in range(len(block)) if not finite[row]]
            place += len(block)
            bar.update(len(block))
    if wrong:
        raise ValueError(
            f"{source.path}: the arrays of {len(wrong)} of {len(source.tokens)} items hold numbers that are not finite "
            f"in {dtype}, e.g. of {wrong[:5]}; leave these items out or repair them: `missing_image: mean` gives items "
            f"without features the mean"
        )

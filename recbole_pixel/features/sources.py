"""Other people's feature files, brought to one form: item tokens, and arrays in their order. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from recbole_pixel.features.item_lists import item_tokens, mmrec_tokens
from recbole_pixel.features.json_vectors import read_vectors
from recbole_pixel.store.durable import file_digest

FORMATS = ("auto", "npy", "pixelrec", "mmrec")
HUGE = 2 << 30  # bytes from which on a file is known by its size and time, not by a digest
BLOCK_BYTES = 1 << 24
MAPPING = "i_id_mapping.csv"


@dataclass(frozen=True)
class FeatureSource:
    """Arrays of items in a file.

    Attributes:
        path: the file.
        tokens: item tokens in the order of the arrays.
        shape: of one array, (F,) or (P, C); of semantic ids (levels,).
        blocks: from how many arrays to skip to blocks of the others, shape (n, *shape).
        provenance: where they come from.
        peaks: the largest absolute number of each array, float64, NaN where one is none, shape (N,); None where the
            file need not be read for it before it is asked for.
        is_codes: whether they are semantic ids: integers, a code a level.
    """

    path: Path
    tokens: list[str]
    shape: tuple[int, ...]
    blocks: Callable[[int], Iterator[np.ndarray]]
    provenance: dict[str, Any] = field(default_factory=dict)
    peaks: np.ndarray | None = None
    is_codes: bool = False


def open_features(
    path: Path,
    layout: str = "auto",
    *,
    tokens: Path | None = None,
    column: str = "item_id",
    channels_first: bool = False,
    progress: bool = False,
) -> FeatureSource:
    """The features in a file.

    Args:
        path: ``.npy``, or PixelRec's ``.json``.
        layout: ``npy`` (row i belongs to entry i of ``tokens``), ``pixelrec`` (``.npy``: row 0 is padding, row i + 1
            belongs to the i-th distinct item of the interactions ``tokens``; ``.json``: {item: vector}), ``mmrec`` (row
            i belongs to itemID i of the mapping ``tokens``, by default ``i_id_mapping.csv`` beside the file), or
            ``auto``: ``pixelrec`` for .json, ``npy`` where ``tokens`` is given, ``mmrec`` where there is a mapping.
        tokens: see :func:`recbole_pixel.features.item_lists.item_tokens`, and ``layout``.
        column: the items' column, where ``tokens`` is a table.
        channels_first: feature maps are (items, channels, height, width), not (items, height, width, channels).
        progress: show a bar where the file has to be read to the end first.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: rows and tokens do not fit each other, tokens repeat, or arrays are neither floats nor codes.
    """
    for file in (path, tokens):
        if file is not None and not file.is_file():
            raise FileNotFoundError(f"no file {file}")
    layout = _layout(path, layout, tokens)
    if path.suffix == ".json":
        source = _from_json(path, progress)
    else:
        array = _opened(path)
        named = _tokens(path, layout, tokens, column)
        skipped = 1 if layout == "pixelrec" else 0
        _check_length(path, layout, len(array), len(named), skipped)
        source = _from_array(path, array[skipped:], named, channels_first)
    _check_tokens(source)
    source.provenance.update(_identity(source, layout))
    return source


def _layout(path: Path, layout: str, tokens: Path | None) -> str:
    if layout not in FORMATS:
        raise ValueError(f"format is {layout!r}; expected one of {', '.join(FORMATS)}")
    if path.suffix not in (".npy", ".json"):
        raise ValueError(f"{path} is neither a .npy nor a .json file; save features with numpy.save")
    if path.suffix == ".json":
        if layout not in ("auto", "pixelrec") or tokens is not None:
            raise ValueError(f"{path} names its items itself: its format is pixelrec, and it needs no list of items")
        return "pixelrec"
    if layout == "auto":
        layout = "npy" if tokens is not None else "mmrec" if (path.parent / MAPPING).is_file() else "auto"
    if layout == "auto" or (tokens is None and layout != "mmrec"):
        raise ValueError(
            f"{path} does not say which row belongs to which item; give --tokens FILE for one row per item, "
            f"--interactions CSV for PixelRec's files, or put MMRec's {MAPPING} beside it"
        )
    return layout


def _tokens(path: Path, layout: str, tokens: Path | None, column: str) -> list[str]:
    if layout == "mmrec":
        return mmrec_tokens(tokens or path.parent / MAPPING)
    assert tokens is not None  # _layout saw to it
    return item_tokens(tokens, column)


def _opened(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:  # numpy also unpickles what is no array file, hence its words about pickles
        raise ValueError(f"{path} is not a plain array ({error}); save floats with numpy.save") from error
    is_known = array.ndim in (2, 3, 4) if array.dtype.kind == "f" else array.dtype.kind in "iu" and array.ndim == 2
    if not is_known or 0 in array.shape:
        raise ValueError(
            f"{path} holds {array.dtype} of shape {array.shape}; expected floats of shape (items, F), "
            f"(items, positions, channels) or (items, height, width, channels), or semantic ids: integers of shape "
            f"(items, levels)"
        )
    return array


def _check_length(path: Path, layout: str, n_rows: int, n_tokens: int, n_padding: int) -> None:
    if n_rows == n_tokens + n_padding:
        return
    padding = f" and {n_padding} row of padding" if n_padding else ""
    hint = "; is its first row padding, as PixelRec's? Then use --format pixelrec" if n_rows == n_tokens + 1 else ""
    if layout == "pixelrec" and n_rows == n_tokens:
        hint = "; if its first row is an item's, use --format npy"
    raise ValueError(f"{path} has {n_rows} rows, expected {n_tokens + n_padding}: {n_tokens} items{padding}{hint}")


def _from_array(path: Path, array: np.ndarray, tokens: list[str], channels_first: bool) -> FeatureSource:
    def arranged(block: np.ndarray) -> np.ndarray:
        if block.ndim < 4:
            return np.array(block)
        block = block.transpose(0, 2, 3, 1) if channels_first else block
        return block.reshape(len(block), -1, block.shape[-1])

    def blocks(start: int) -> Iterator[np.ndarray]:
        step = max(1, BLOCK_BYTES // array[0].nbytes)
        for first in range(start, len(array), step):
            yield arranged(array[first : first + step])

    return FeatureSource(path, tokens, arranged(array[:1]).shape[1:], blocks, is_codes=array.dtype.kind != "f")


def _from_json(path: Path, progress: bool) -> FeatureSource:
    tokens: list[str] = []
    peaks: list[float] = []
    shape: tuple[int, ...] | None = None
    for token, vector in tqdm(read_vectors(path), desc=f"Reading {path.name}", unit="item", disable=not progress):
        shape = shape or vector.shape
        if vector.shape != shape:
            raise ValueError(f"{path}: item {token!r} has {vector.shape} numbers, item {tokens[0]!r} has {shape}")
        tokens.append(token)
        peaks.append(float(np.abs(vector).max()))
    if shape is None:
        raise ValueError(f"{path} holds no items")

    def blocks(start: int) -> Iterator[np.ndarray]:
        vectors = (vector for _, vector in islice(read_vectors(path), start, None))
        while chosen := list(islice(vectors, 256)):
            yield np.stack(chosen).astype(np.float64)

    return FeatureSource(path, tokens, shape, blocks, peaks=np.array(peaks))


def _check_tokens(source: FeatureSource) -> None:
    twice = [token for token, n in Counter(source.tokens).items() if n > 1]
    if twice:
        raise ValueError(
            f"{source.path}: {len(twice)} items come more than once, e.g. {twice[:3]}; keep one row of each"
        )


def _identity(source: FeatureSource, layout: str) -> dict[str, Any]:
    size = source.path.stat().st_size
    if size < HUGE:
        state: dict[str, Any] = {"source_sha256": file_digest(source.path)}
    else:
        state = {"source_bytes": size, "source_mtime": source.path.stat().st_mtime}
    return {
        "kind": "codes" if source.is_codes else "features",
        "format": layout,
        "source": source.path.name,
        **state,
        "tokens_sha256": tokens_digest(source.tokens),
    }


def tokens_digest(tokens: Sequence[str]) -> str:
    """A hash of tokens and their order."""
    return hashlib.sha256(json.dumps(list(tokens)).encode()).hexdigest()

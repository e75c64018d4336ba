"""Semantic ids: residual k-means of features, a code a level.

The first level clusters the features, each further level what the levels before left of them, so that items with like
features share their first codes. As in TIGER (Rajput et al., NeurIPS 2023) and PixelRec's semantic ids, with k-means in
place of a trained quantiser.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recbole_pixel.features.kmeans import centroids, chosen_backend, nearest
from recbole_pixel.features.writing import kept, write_codes
from recbole_pixel.store import MEAN_TOKEN, ArrayStore


@dataclass(frozen=True)
class LevelReport:
    """How well a level and those before it tell the items.

    Attributes:
        distortion: mean squared error that is left, as a share of the features' variance.
        n_used: codes that any item has.
        perplexity: number of equally frequent codes that would be as hard to guess.
    """

    distortion: float
    n_used: int
    perplexity: float


@dataclass(frozen=True)
class Quantised:
    """What :func:`quantize` made.

    Attributes:
        codes: int32, (levels,) an item.
        codebooks: float32, (n_codes, F) a level.
        levels: a report for each; empty where the codes were there already.
        n_colliding: items that share all of their codes with another.
    """

    codes: ArrayStore
    codebooks: ArrayStore
    levels: tuple[LevelReport, ...]
    n_colliding: int


def codes_path(features: Path, n_levels: int, n_codes: int) -> Path:
    """Where codes go by default: beside the features."""
    return features.with_name(f"{features.name.removesuffix('.array')}-codes-{n_levels}x{n_codes}.array")


def codebooks_path(codes: Path) -> Path:
    """Where the codebooks of the codes at ``codes`` lie."""
    return codes.with_name(f"{codes.name.removesuffix('.array')}-codebooks.array")


def quantize(
    features: ArrayStore,
    path: Path,
    *,
    n_levels: int = 4,
    n_codes: int = 256,
    n_directions: int = 32,
    seed: int = 0,
    backend: str = "auto",
    overwrite: bool = False,
) -> Quantised:
    """Writes the semantic ids of all items, and their codebooks beside them.

    Holds the features three times in memory, in float32.

    Args:
        features: vectors of items, shape (F,) each.
        path: the store of the codes to write.
        n_levels: codes an item.
        n_codes: clusters of each level.
        n_directions: principal directions, of what a level finds, along which it clusters; 0 for all. Fewer spread
            the items more evenly over the codes, more leave a smaller error.
        seed: the same one gives the same codes.
        backend: ``faiss``, ``sklearn``, or ``auto`` (faiss where it is installed).
        overwrite: replace codes there that were made otherwise.

    Raises:
        ValueError: the features are no vectors, or fewer than codes; or there is no such number of directions.
        FileExistsError: there are codes made otherwise, and not ``overwrite``.
    """
    _check(features, n_levels, n_codes, n_directions)
    made_of: dict[str, Any] = {
        "features": features.fingerprint,
        "levels": n_levels,
        "codes": n_codes,
        "directions": n_directions,
        "seed": seed,
        "backend": chosen_backend(backend),
    }
    both = [
        kept(where, {"kind": kind, **made_of}, may_differ=("features",), overwrite=overwrite)
        for kind, where in (("codes", path), ("codebooks", codebooks_path(path)))
    ]
    if both[0] is not None and both[1] is not None:
        return Quantised(both[0], both[1], (), n_colliding(_of_items(both[0])))
    tokens, vectors = _items_first(features)
    n_items = len(tokens) - (MEAN_TOKEN in features)
    codes, tables, reports = residual_kmeans(vectors, n_items, made_of)
    names = [str(level) for level in range(n_levels)]
    return Quantised(
        codebooks=write_codes(codebooks_path(path), names, tables, {"kind": "codebooks", **made_of}),
        codes=write_codes(path, tokens, codes, {"kind": "codes", **made_of}),
        levels=tuple(reports),
        n_colliding=n_colliding(codes[:n_items]),
    )


def residual_kmeans(
    vectors: np.ndarray, n_items: int, settings: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray, list[LevelReport]]:
    """Codes of vectors by residual k-means, fitted to the first of them.

    Args:
        vectors: float32, shape (N, F); overwritten by what the codes leave of them.
        n_items: rows that are fitted and reported; the others only get codes.
        settings: ``levels``, ``codes``, ``directions``, ``seed`` (each level has one of its own) and ``backend``, see
            :func:`quantize`.

    Returns:
        Codes, int32 (N, levels); codebooks, float32 (levels, codes, F); a report a level.
    """
    n_levels, n_codes = settings["levels"], settings["codes"]
    codes = np.empty((len(vectors), n_levels), dtype=np.int32)
    tables = np.empty((n_levels, n_codes, vectors.shape[1]), dtype=np.float32)
    items, reports = vectors[:n_items], []
    variance = float(items.var(axis=0, dtype=np.float64).sum())
    for level in range(n_levels):
        tables[level] = centroids(
            items,
            n_codes,
            seed=settings["seed"] + level,
            backend=settings["backend"],
            n_directions=settings["directions"],
        )
        codes[:, level] = nearest(vectors, tables[level])
        vectors -= tables[level][codes[:, level]]
        left = float(np.square(items, dtype=np.float64).sum(axis=1).mean())
        reports.append(_report(codes[:n_items, level], left / variance if variance else 0.0))
    return codes, tables, reports


def n_colliding(codes: np.ndarray) -> int:
    """Rows of ``codes`` (N, levels) that are equal to another row."""
    counts = np.unique(codes, axis=0, return_counts=True)[1]
    return int(counts[counts > 1].sum())


def _report(codes: np.ndarray, distortion: float) -> LevelReport:
    shares = np.unique(codes, return_counts=True)[1] / len(codes)
    return LevelReport(distortion, len(shares), float(np.exp(-(shares * np.log(shares)).sum())))


def _check(features: ArrayStore, n_levels: int, n_codes: int, n_directions: int) -> None:
    n_items = len(features) - (MEAN_TOKEN in features)
    if features.dtype.kind != "f" or len(features.shape) != 1:
        raise ValueError(
            f"{features.path} holds {features.dtype} of shape {features.shape} an item; semantic ids are made of "
            f"vectors: floats of shape (F,), as `features extract --layer pooled` gives them"
        )
    if n_levels < 1 or n_codes < 2 or n_codes > n_items:
        raise ValueError(
            f"{n_levels} levels of {n_codes} codes for {n_items} items; expected at least 1 level, and from 2 codes "
            f"to as many as there are items"
        )
    if n_directions < 0:
        raise ValueError(f"directions is {n_directions}; expected 0 (all) or more")


def _items_first(features: ArrayStore) -> tuple[list[str], np.ndarray]:
    """Tokens and vectors, the mean's last if there is one."""
    tokens = [token for token in features.tokens if token != MEAN_TOKEN]
    tokens += [MEAN_TOKEN] if MEAN_TOKEN in features else []
    return tokens, features.gather(features.positions(tokens)).astype(np.float32, copy=False)


def _of_items(codes: ArrayStore) -> np.ndarray:
    return codes.gather(codes.positions([token for token in codes.tokens if token != MEAN_TOKEN]))

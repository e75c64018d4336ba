"""K-means by scikit-learn or faiss, and the nearest centroids of vectors."""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import numpy as np

BACKENDS = ("auto", "faiss", "sklearn")
LARGE = 50_000  # vectors from which on scikit-learn works in mini-batches
ROWS = 8192  # vectors compared with all centroids at a time


def chosen_backend(backend: str) -> str:
    """``faiss`` or ``sklearn``: for ``auto``, faiss where it is installed.

    Raises:
        ValueError: no such backend.
        ImportError: it is not installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend is {backend!r}; expected one of {', '.join(BACKENDS)}")
    has_faiss = find_spec("faiss") is not None
    if backend == "faiss" and not has_faiss:
        raise ImportError("backend is faiss, which is not installed: pip install faiss-cpu, or use --backend sklearn")
    return backend if backend != "auto" else "faiss" if has_faiss else "sklearn"


def centroids(vectors: np.ndarray, n_codes: int, *, seed: int, backend: str, n_directions: int = 0) -> np.ndarray:
    """Centroids of a k-means clustering, float32, shape (n_codes, F); the same again for the same arguments.

    With many directions all vectors are about equally far from each other, and k-means spends its clusters on single
    ones. Clustered along their main directions only, they fall into clusters of like sizes.

    Args:
        vectors: float32, shape (N, F), with N >= n_codes.
        n_codes: number of clusters.
        seed: of the first centroids.
        backend: ``faiss`` or ``sklearn``.
        n_directions: cluster along so many principal directions; the centroids are those points of the whole space
            that lie there, so that the nearest of them is the same whether measured here or there. 0 for all.
    """
    run = _by_faiss if backend == "faiss" else _by_sklearn
    if not 0 < n_directions < vectors.shape[1]:
        return np.ascontiguousarray(run(vectors, n_codes, seed), dtype=np.float32)
    center = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    directions = _main_directions(vectors - center, n_directions)
    found = run(np.ascontiguousarray((vectors - center) @ directions), n_codes, seed)
    return np.ascontiguousarray(found @ directions.T + center, dtype=np.float32)


def nearest(vectors: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The number of the centroid nearest to each vector: int32, shape (N,).

    Args:
        vectors: float32, shape (N, F).
        table: centroids, float32, shape (K, F).
    """
    found = np.empty(len(vectors), dtype=np.int32)
    # In float64, since the squares of large numbers hide small differences; |v|^2 is the same for every centroid.
    wide = table.astype(np.float64)
    squares = (wide**2).sum(axis=1)
    for start in range(0, len(vectors), ROWS):
        part = vectors[start : start + ROWS].astype(np.float64)
        found[start : start + ROWS] = np.argmin(squares - 2 * part @ wide.T, axis=1)
    return found


def _main_directions(centred: np.ndarray, n_directions: int) -> np.ndarray:
    """Orthonormal, float32, shape (F, n_directions)."""
    directions: np.ndarray = np.linalg.eigh((centred.T @ centred).astype(np.float64))[1]
    return directions[:, -n_directions:].astype(np.float32)


def _by_sklearn(vectors: np.ndarray, n_codes: int, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    if len(vectors) >= LARGE:
        model = MiniBatchKMeans(n_codes, batch_size=max(4096, 8 * n_codes), n_init=3, random_state=seed)
    else:
        model = KMeans(n_codes, n_init=1, random_state=seed)
    # One thread: several add up in the order in which they finish, and the last digits change from run to run.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct vectors than codes: the report shows it
        found: np.ndarray = model.fit(vectors).cluster_centers_
    return found


def _by_faiss(vectors: np.ndarray, n_codes: int, seed: int) -> np.ndarray:
    import faiss

    model = faiss.Kmeans(vectors.shape[1], n_codes, niter=25, nredo=3, seed=seed, min_points_per_centroid=1)
    model.train(np.ascontiguousarray(vectors))
    found: np.ndarray = model.centroids
    return found

"""Counting, ordering and numbering of hundreds of millions of ids, a block at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.sparse import csr_matrix

BLOCK = 1 << 22  # elements at a time: numpy makes an int64 copy of what it indexes with


def blocks(n: int) -> Iterator[slice]:
    """Slices that cover ``n`` elements in order."""
    return (slice(first, min(first + BLOCK, n)) for first in range(0, n, BLOCK))


def counts_of(ids: np.ndarray, n_ids: int) -> np.ndarray:
    """How often each id occurs: int64 (n_ids,); negative ids are not counted."""
    counts = np.zeros(n_ids, np.int64)
    for block in blocks(len(ids)):
        part = ids[block]
        found = np.bincount(part if part.min() >= 0 else part[part >= 0])
        counts[: len(found)] += found
    return counts


def take(values: np.ndarray, index: np.ndarray | None, dtype: np.dtype | type | None = None) -> np.ndarray:
    """``values[index]`` as ``dtype``; None for all in their order.

    By all cores: what is gathered from hundreds of millions of places waits for memory.

    Args:
        values: (m,).
        index: integers (n,) below m, -1 for the last; they are not checked.
        dtype: of the result; None for that of ``values``.
    """
    if index is None:
        return values.astype(values.dtype if dtype is None else dtype)
    out = np.empty(len(index), values.dtype if dtype is None else dtype)

    def gather(block: slice) -> None:
        if out.dtype == values.dtype:
            values.take(index[block], out=out[block], mode="wrap")  # "raise" would copy what it writes
        else:
            out[block] = values.take(index[block], mode="wrap")

    n_threads = min(os.cpu_count() or 1, -(-len(index) // BLOCK))
    with ThreadPoolExecutor(max(n_threads, 1)) as threads:
        list(threads.map(gather, blocks(len(index))))
    return out


def number_by_first(codes: np.ndarray, n_codes: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids from 1 in the order in which codes occur first, 0 for the negative code, as ``pandas.factorize`` plus one.

    Args:
        codes: (n,), from -1.
        n_codes: codes are below it.

    Returns:
        Ids, int32 (n,), and the code of each id but 0.
    """
    first = np.full(n_codes + 1, len(codes), np.int64)  # the last place is that of code -1
    for block in reversed(list(blocks(len(codes)))):
        first[codes[block][::-1]] = np.arange(block.stop - 1, block.start - 1, -1)
    present = np.flatnonzero(first[:-1] < len(codes))
    order = present[np.argsort(first[present])]
    ids = np.zeros(n_codes + 1, np.int32)
    ids[order] = np.arange(1, len(order) + 1)
    return take(ids, codes), order


def order_by_time(users: np.ndarray, times: np.ndarray) -> np.ndarray | None:
    """Positions that put interactions in the order of users, each user's in that of time, ties as they stand.

    Args:
        users: ids, (n,), not negative.
        times: (n,).

    Returns:
        Integers (n,); None where all are in order already.
    """
    order, in_order = (None, users) if _is_sorted(users) else _grouped(users)
    for part in _users_together(in_order):
        within = np.arange(part.start, part.stop) if order is None else order[part]
        user, time = in_order[part], times[within]
        if not ((time[1:] >= time[:-1]) | (user[1:] != user[:-1])).all():
            order = np.arange(len(users), dtype=_position_type(len(users))) if order is None else order
            order[part] = within[np.lexsort((time, user))]
    return order


def _is_sorted(values: np.ndarray) -> bool:
    return all((values[b.start + 1 : b.stop + 1] >= values[b.start : b.stop][: len(values) - b.start - 1]).all()
               for b in blocks(len(values)))  # fmt: skip


def _grouped(users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions by user, ascending within each, and the users: a counting sort, which compressing a matrix is."""
    n = len(users)
    dtype = _position_type(n)
    shape = (int(users.max()) + 1, n)
    matrix = csr_matrix((np.ones(n, np.int8), (users.astype(dtype, copy=False), np.arange(n, dtype=dtype))), shape)
    return matrix.indices, np.repeat(np.arange(shape[0], dtype=dtype), np.diff(matrix.indptr))


def _position_type(n: int) -> type:
    return np.int32 if n < 2**31 else np.int64


def _users_together(users: np.ndarray) -> Iterator[slice]:
    """Slices of about ``BLOCK`` that cut no user of the sorted ``users`` (n,) in two."""
    first = 0
    while first < len(users):
        last = min(first + BLOCK, len(users))
        stop = int(np.searchsorted(users, users[last - 1], side="right"))
        yield slice(first, stop)
        first = stop

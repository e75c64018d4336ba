"""Metrics by how often a target was consumed in training: what a mean over all targets hides."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np


def bucket_starts(counts: np.ndarray, wanted: int | Sequence[int]) -> list[int]:
    """The least count of each bucket, ascending.

    Args:
        counts: of each target, (T,).
        wanted: these numbers; or how many buckets there are to be, at most: one of the targets that were never
            consumed, where there are any, and the others with about as many targets each.

    Raises:
        ValueError: ``wanted`` is no number from 1, nor numbers from 0 that ascend.
    """
    if isinstance(wanted, int) and not isinstance(wanted, bool) and wanted >= 1:
        return _even_starts(counts, wanted)
    if not isinstance(wanted, int) and _are_starts(wanted):
        return list(wanted)
    raise ValueError(
        f"popularity_buckets is {wanted!r}; expected a number of buckets, or the least count of each, ascending, such "
        f"as [0, 1, 10, 100]"
    )


def _even_starts(counts: np.ndarray, n_buckets: int) -> list[int]:
    seen = np.sort(counts[counts > 0])
    starts = {0} if len(seen) < len(counts) else set()
    n_buckets = max(1, n_buckets - len(starts))
    places = len(seen) * np.arange(n_buckets if len(seen) else 0) // n_buckets
    return sorted({*starts, *map(int, seen[places])})


def _are_starts(wanted: Sequence[int]) -> bool:
    are_counts = len(wanted) > 0 and all(isinstance(start, int) and start >= 0 for start in wanted)
    return are_counts and all(left < right for left, right in pairwise(wanted))


def by_popularity(
    counts: np.ndarray, ranks: np.ndarray, topk: Sequence[int], wanted: int | Sequence[int]
) -> list[dict[str, Any]]:
    """Hits and gains of targets, bucket by bucket.

    Each target counts for itself: ``hit@k`` is the share of them that are among the first k, ``ndcg@k`` the mean of
    ``1 / log2(rank + 1)`` of those and 0 of the others.

    Args:
        counts: how often each target was consumed in training, (T,).
        ranks: its rank from 1; 0 where it is beyond the largest of ``topk``, (T,).
        topk: cut-offs.
        wanted: see :func:`bucket_starts`.

    Returns:
        For each bucket ``from`` and ``to``, its least and greatest count (None: no greatest), ``targets``, how many
        there are, and the metrics, None where there are none. Targets below the first bucket are in none.
    """
    starts = bucket_starts(counts, wanted)
    bucket = np.searchsorted(starts, counts, side="right") - 1
    ends = [start - 1 for start in starts[1:]]
    return [
        {"from": start, "to": end, **_metrics(ranks[bucket == number], topk)}
        for number, (start, end) in enumerate(zip(starts, [*ends, None], strict=True))
    ]


def _metrics(ranks: np.ndarray, topk: Sequence[int]) -> dict[str, Any]:
    found: dict[str, Any] = {"targets": len(ranks)}
    for k in topk:
        is_hit = (ranks > 0) & (ranks <= k)
        gains = is_hit / np.log2(np.maximum(ranks, 1) + 1)
        found[f"hit@{k}"] = round(float(is_hit.mean()), 4) if len(ranks) else None
        found[f"ndcg@{k}"] = round(float(gains.mean()), 4) if len(ranks) else None
    return found

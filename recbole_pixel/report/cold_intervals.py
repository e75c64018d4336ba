"""How sure a mean over splits is: over the splits, as draws of cold items, and over users, as draws of people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from recbole_pixel.evaluation.cold_cases import ColdCases

LEVEL = 0.05
REPLICATES = 2000  # of the bootstrap
WEIGHTS = 2**22  # drawn at a time: 32 MB
TOP = 10


class Interval(NamedTuple):
    """A mean with its 95% interval; ``low`` and ``high`` are None where there is none, as of a single value."""

    mean: float
    low: float | None
    high: float | None


def t_interval(values: Sequence[float]) -> Interval:
    """The mean of independent values, by the t distribution."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, None, None)
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    reach = float(stats.t.ppf(1 - LEVEL / 2, len(values) - 1)) * error
    return Interval(mean, mean - reach, mean + reach)


def hits_of(cases: ColdCases) -> np.ndarray:
    """Whether each cold target was among the first ten of the cold items, float64 (C,)."""
    return (cases.cold_rank_cold < TOP + 1).astype(np.float64)


def split_differences(one: Sequence[ColdCases], other: Sequence[ColdCases]) -> list[float]:
    """HR@10 among the cold items of ``one`` less that of ``other``, split by split.

    Raises:
        ValueError: they were not asked the same.
    """
    return [float((hits_of(left) - _hits_of_same(left, right)).mean()) for left, right in zip(one, other, strict=True)]


def _hits_of_same(cases: ColdCases, other: ColdCases) -> np.ndarray:
    for field in ("cold_user", "cold_target"):
        if not np.array_equal(getattr(cases, field), getattr(other, field)):
            raise ValueError(
                f"two runs of a split were asked for different cold items ({len(cases.cold_user):,} and "
                f"{len(other.cold_user):,} cases); give all rows the same dataset, missing_image and missing_text"
            )
    return hits_of(other)


def over_users(one: Sequence[ColdCases], other: Sequence[ColdCases], seed: int = 0) -> Interval:
    """The mean over splits of :func:`split_differences`, by a bootstrap over users, the splits as they are.

    A user drawn twice brings all cases of all splits twice: what one person does is one draw.
    """
    users = np.unique(np.concatenate([cases.cold_user for cases in one]))
    gains, counts = np.zeros((2, len(users), len(one)))
    for split, (left, right) in enumerate(zip(one, other, strict=True)):
        place = np.searchsorted(users, left.cold_user)
        gains[:, split] = np.bincount(place, hits_of(left) - _hits_of_same(left, right), len(users))
        counts[:, split] = np.bincount(place, minlength=len(users))
    rng, found = np.random.default_rng(seed), []
    size = max(1, WEIGHTS // len(users))
    for first in range(0, REPLICATES, size):
        n_drawn = min(size, REPLICATES - first)
        weights = rng.multinomial(len(users), np.full(len(users), 1 / len(users)), n_drawn)
        found.append(np.nanmean((weights @ gains) / _positive(weights @ counts), axis=1))
    low, high = np.quantile(np.concatenate(found), [LEVEL / 2, 1 - LEVEL / 2])
    return Interval(float(np.mean(split_differences(one, other))), float(low), float(high))


def _positive(counts: np.ndarray) -> np.ndarray:
    """Counts, NaN for 0: a split of which a draw has nobody."""
    return np.where(counts > 0, counts, np.nan)

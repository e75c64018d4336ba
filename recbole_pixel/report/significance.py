"""Whether two models differ: paired tests over users, with a correction for how many are compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.05
DECIMALS = 8
"""Of differences that count: behind them are roundings, as of means of the same numbers in another order."""


class Paired(NamedTuple):
    """How a model differs from the reference in one metric.

    Attributes:
        n_users: pairs.
        difference: mean over users, of the model less the reference.
        low: lower end of its 95% interval, by the t distribution.
        high: upper end.
        t: p-value of the paired t-test, two-sided.
        wilcoxon: p-value of Wilcoxon's signed-rank test, two-sided; users without a difference are left out of it.
    """

    n_users: int
    difference: float
    low: float
    high: float
    t: float
    wilcoxon: float


def compare_paired(values: np.ndarray, reference: np.ndarray) -> Paired:
    """Tests the differences of paired values, rounded to :data:`DECIMALS`.

    Args:
        values: of each user under the model, (V,).
        reference: of the same users under the reference, (V,).

    Raises:
        ValueError: there are fewer than two users.
    """
    differences = np.round(np.asarray(values, np.float64) - np.asarray(reference, np.float64), DECIMALS)
    n_users = len(differences)
    if n_users < 2:
        raise ValueError(f"a paired test needs at least 2 users; there are {n_users}")
    difference, deviation = float(differences.mean()), float(differences.std(ddof=1))
    if not differences.any():
        return Paired(n_users, 0.0, 0.0, 0.0, 1.0, 1.0)
    error = deviation / n_users**0.5
    reach = float(stats.t.ppf(1 - LEVEL / 2, n_users - 1)) * error
    p_value = 2 * float(stats.t.sf(abs(difference) / error, n_users - 1)) if error else 0.0
    signed = float(stats.wilcoxon(differences).pvalue)
    return Paired(n_users, difference, difference - reach, difference + reach, p_value, signed)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm and Bonferroni's corrected p-values (Holm 1979), in the order given.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none is below one that was smaller.
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for place, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = largest
    return corrected

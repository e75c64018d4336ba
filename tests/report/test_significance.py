"""Paired tests against scipy's and numbers by hand; Holm's correction."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from recbole_pixel.report.significance import compare_paired, holm


def test_the_t_test_and_its_interval_are_those_of_the_book():
    """Student's sleep data (1908), ten patients and two drugs: p = 0.002833, 95% from 0.7001142 to 2.4598858."""
    one = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    two = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    found = compare_paired(two, one)
    assert found.n_users == 10
    assert found.difference == pytest.approx(1.58)
    assert found.t == pytest.approx(0.00283289, rel=1e-5)
    assert (found.low, found.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-6)
    assert found.t == pytest.approx(stats.ttest_rel(two, one).pvalue)
    assert found.wilcoxon == pytest.approx(stats.wilcoxon(two, one).pvalue)


def test_the_sign_is_that_of_the_model_less_the_reference():
    better = np.linspace(0.2, 0.9, 30)
    worse = better - np.linspace(0.05, 0.15, 30)
    assert compare_paired(better, worse).low > 0
    assert compare_paired(worse, better).high < 0


def test_equal_values_do_not_differ_and_a_constant_difference_does():
    same = np.arange(5.0)
    assert compare_paired(same, same)[1:] == (0.0, 0.0, 0.0, 1.0, 1.0)
    constant = compare_paired(same + 0.5, same)
    assert (constant.difference, constant.low, constant.high, constant.t) == (0.5, 0.5, 0.5, 0.0)
    with pytest.raises(ValueError, match="at least 2 users; there are 1"):
        compare_paired(same[:1], same[:1])


def test_roundings_are_no_difference():
    rng = np.random.default_rng(0)
    values, noise = rng.random(200), rng.choice([-1e-16, 1e-16, 2e-16], 200)
    assert np.any(values + noise != values)
    assert compare_paired(values + noise, values)[1:] == (0.0, 0.0, 0.0, 1.0, 1.0)
    steps = np.array([0.1, 0.2, 0.3, 0.4, -0.1])  # two of which are of one size
    found = compare_paired(values + np.pad(steps, (0, 195)), values + noise)
    assert found.wilcoxon == pytest.approx(stats.wilcoxon(np.pad(steps, (0, 195))).pvalue)


def test_holm_multiplies_the_smallest_most_and_keeps_the_order():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.5]) == [1.0, 1.0]
    assert holm([]) == []

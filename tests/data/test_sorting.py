from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recbole_pixel.data import sorting
from recbole_pixel.data.sorting import counts_of, number_by_first, order_by_time, take


@pytest.fixture(params=[1 << 22, 7], autouse=True)
def block(request, monkeypatch):
    monkeypatch.setattr(sorting, "BLOCK", request.param)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("order", ["none", "by time", "by user", "by both"])
def test_interactions_are_ordered_as_pandas_does(seed, order):
    rng = np.random.default_rng(seed)
    users, times = rng.integers(1, 9, 60).astype(np.int32), rng.integers(0, 20, 60).astype(float)
    times[rng.random(60) < 0.1] = np.nan
    frame = pd.DataFrame({"user": users, "time": times})
    by = {"none": [], "by time": ["time"], "by user": ["user"], "by both": ["user", "time"]}[order]
    if by:
        frame = frame.sort_values(by, kind="stable", ignore_index=True)
    found = order_by_time(frame["user"].to_numpy(), frame["time"].to_numpy())
    expected = frame.sort_values(["user", "time"], kind="stable").index
    assert (np.arange(60) if found is None else found).tolist() == expected.tolist()


def test_what_is_in_order_is_left_alone():
    assert order_by_time(np.array([1, 1, 2, 5]), np.array([3.0, 3.0, 1.0, 0.0])) is None
    assert order_by_time(np.zeros(0, int), np.zeros(0)) is None


@pytest.mark.parametrize("seed", range(5))
def test_ids_are_those_of_factorize(seed):
    rng = np.random.default_rng(seed)
    codes = rng.integers(-1, 30, 50)
    ids, order = number_by_first(codes, 40)
    expected, uniques = pd.factorize(np.where(codes < 0, None, codes))
    assert ids.tolist() == (expected + 1).tolist()
    assert order.tolist() == uniques.tolist()


def test_counts_leave_negative_ids_out():
    assert counts_of(np.array([2, 0, -1, 2, 2, -1, 0, 5, 2]), 7).tolist() == [2, 0, 4, 0, 0, 1, 0]


def test_take_is_indexing_with_another_type():
    values, index = np.arange(20.0), np.array([3, 19, 0, 3, 7, 7, 8, 1, 2], dtype=np.int32)
    taken = take(values, index, np.float32)
    assert taken.dtype == np.float32
    assert taken.tolist() == [3, 19, 0, 3, 7, 7, 8, 1, 2]
    assert take(values, None).tolist() == values.tolist()

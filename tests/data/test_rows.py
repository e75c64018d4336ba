from __future__ import annotations

import numpy as np
import pytest

from recbole_pixel.data.rows import (
    Rows,
    chunk_targets,
    expand_prefixes,
    gather_windows,
    newest_rows,
    places_in,
    runs_of,
    user_starts,
)


def test_user_starts():
    assert user_starts(np.array([4, 4, 7, 9, 9, 9])).tolist() == [0, 0, 2, 3, 3, 3]
    assert user_starts(np.zeros(0, int)).tolist() == []


def test_chunks_have_every_target_once_and_are_cut_from_the_newest():
    # one user at 0..7 (targets 1..7), one at 8..9 (target 9)
    rows = chunk_targets(runs_of(np.array([1, 2, 3, 4, 5, 6, 7, 9])), max_length=3)
    assert list(zip(rows.start.tolist(), rows.length.tolist(), strict=True)) == [(0, 1), (1, 3), (4, 3), (8, 1)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("max_length", [1, 2, 7, 50])
def test_chunks_of_random_targets_cover_them_exactly(seed, max_length):
    rng = np.random.default_rng(seed)
    targets = np.flatnonzero(rng.random(200) < 0.8)[1:]
    targets = targets[targets > 0]
    runs = runs_of(targets)
    assert places_in(runs).tolist() == targets.tolist()
    rows = chunk_targets(runs, max_length)
    covered = np.concatenate([np.arange(s + 1, s + n + 1) for s, n in zip(rows.start, rows.length, strict=True)])
    assert covered.tolist() == targets.tolist()
    assert rows.length.max() <= max_length


def test_no_targets_make_no_rows():
    assert len(chunk_targets(runs_of(np.zeros(0, int)), 5)) == 0


def test_newest_rows_keeps_the_last_of_each_user():
    rows = Rows(np.array([0, 3, 6, 9, 20]), np.ones(5, int))
    kept = newest_rows(rows, np.array([1, 1, 1, 1, 2]), 2)
    assert kept.start.tolist() == [6, 9, 20]


def test_windows_are_padded_on_the_right():
    items = np.array([5, 6, 7, 8])
    windows = gather_windows(items, np.array([1, 3]), np.array([3, 1]), 4)
    assert windows.tolist() == [[6, 7, 8, 0], [8, 0, 0, 0]]


def test_prefixes_reach_back_to_the_users_first_item():
    # a user at 10..15, in chunks of 3 targets: (10..12 -> 11..13), (13..14 -> 14..15)
    rows, targets = expand_prefixes(Rows(np.array([10, 13]), np.array([3, 2])), np.array([10, 10]), max_length=4)
    assert targets.tolist() == [11, 12, 13, 14, 15]
    assert rows.start.tolist() == [10, 10, 10, 10, 11]
    assert rows.length.tolist() == [1, 2, 3, 4, 4]

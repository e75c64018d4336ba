"""A step's catalogue of any items: distinct ids, found again by position, candidates and collisions in their places."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from examples import tried
from hypothesis import given
from hypothesis import strategies as st

from recbole_pixel.catalogue import StepCatalogue
from recbole_pixel.collisions import PairCollisions, RowCollisions, positions_among
from recbole_pixel.data.loader import named, positions_of
from recbole_pixel.data.sampling import Owned, draw_distinct, draw_negatives, log_inclusion, stands_in

IDS = st.integers(0, 30)
GRIDS = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(IDS, min_size=width, max_size=width), min_size=1, max_size=5)
)
"""Item ids, (B, L), 0 for padding."""


def array(grid: Any) -> np.ndarray:
    return np.array(grid, dtype=np.int64)


@given(GRIDS, GRIDS, st.lists(IDS, max_size=5))
@tried(60)
def test_a_catalogue_holds_each_item_once_and_finds_it_again(inputs, targets, extra) -> None:
    plan: Any = SimpleNamespace(inputs=array(inputs), targets=array(targets))
    ids = named(plan, array([]), array(extra))
    every = {0, *extra, *(item for grid in (inputs, targets) for row in grid for item in row)}
    assert ids.tolist() == sorted(every), "sorted, distinct, the padding first"
    catalogue = StepCatalogue(torch.from_numpy(ids), torch.arange(2.0 * len(ids)).view(-1, 2))
    for grid in (inputs, targets):
        asked = torch.tensor(grid)
        positions = catalogue.positions(asked)
        assert torch.equal(catalogue.ids[positions], asked), "positions are the inverse of ids"
        expected = [
            [[2.0 * ids.tolist().index(item), 2.0 * ids.tolist().index(item) + 1] for item in row] for row in grid
        ]
        assert catalogue.lookup(asked).tolist() == expected
    absent = [item for item in range(32) if item not in every]
    with pytest.raises(LookupError, match="not among the"):
        catalogue.positions(torch.tensor([absent[0], 0]))


@given(GRIDS, st.sets(IDS, min_size=1), st.integers(0, 2**31))
@tried(60)
def test_collisions_are_masked_where_they_stand_and_nowhere_else(rows, candidates, seed) -> None:
    rng = np.random.default_rng(seed)
    ids = torch.tensor(sorted({0, *candidates}))
    row_of_target = torch.from_numpy(rng.integers(0, len(rows), 6))
    own = torch.from_numpy(rng.integers(0, len(ids), 6))
    scores = torch.randn(6, len(ids), generator=torch.Generator().manual_seed(seed % 2**31))
    expected = scores.clone()
    pairs = []
    for target, row in enumerate(row_of_target.tolist()):
        for position, item in enumerate(ids.tolist()):
            if item and item in rows[row]:
                pairs.append((target, position))
                if position != own[target]:
                    expected[target, position] = -torch.inf
    by_row = RowCollisions.among(ids, torch.tensor(rows), row_of_target)
    pairs_twice = torch.tensor(pairs * 2, dtype=torch.long).view(-1, 2)
    by_pair = PairCollisions(pairs_twice[:, 0], pairs_twice[:, 1])
    for collisions in (by_row, by_pair):
        whole = collisions.exclude_(scores.clone(), 0, own)
        assert torch.equal(whole, expected)
        parts = [
            collisions.exclude_(scores[first : first + 2].clone(), first, own[first : first + 2]) for first in (0, 2, 4)
        ]
        assert torch.equal(torch.cat(parts), expected), "in parts as at once"


@given(GRIDS, st.sets(IDS, min_size=1))
@tried(40)
def test_positions_among_candidates_are_those_of_a_list(rows, candidates) -> None:
    ids = sorted(candidates)
    found = positions_among(torch.tensor(ids), torch.tensor(rows)).tolist()
    assert found == [[ids.index(item) if item and item in ids else -1 for item in row] for row in rows]
    flat = array(rows).ravel()
    numbers = np.arange(len(flat))
    expected = [[number, ids.index(item)] for number, item in enumerate(flat.tolist()) if item in ids]
    assert positions_of(array(ids), numbers, flat).tolist() == expected


@given(GRIDS, st.integers(0, 2**31))
@tried(40)
def test_negatives_are_candidates_that_their_row_does_not_hold(rows, seed) -> None:
    rng, grid = np.random.default_rng(seed), array(rows)
    candidates = np.arange(1, 200)
    drawn = draw_negatives(rng, candidates, grid.shape, stands_in(grid))
    assert np.isin(drawn, candidates).all()
    assert not any(set(negatives) & set(row) for negatives, row in zip(drawn.tolist(), grid.tolist(), strict=True))
    owned = Owned(np.repeat(np.arange(len(rows)), grid.shape[1]), grid.ravel(), 31)
    users = np.arange(len(rows))[:, None]
    asked = np.tile(np.arange(31), (len(rows), 1))
    assert owned.of(users, asked).tolist() == [[item in row for item in range(31)] for row in rows]


@given(st.sets(IDS, min_size=1), st.integers(0, 40), st.integers(0, 2**31))
@tried(30)
def test_drawn_items_are_distinct_and_as_many_as_there_are(candidates, n_items, seed) -> None:
    drawn = draw_distinct(np.random.default_rng(seed), array(sorted(candidates)), n_items)
    assert drawn.tolist() == sorted(set(drawn.tolist()))
    assert set(drawn.tolist()) <= candidates
    assert len(drawn) == min(n_items, len(candidates))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.integers(1, 60), st.integers(0, 9))
@tried(40)
def test_the_chance_to_be_in_a_catalogue_is_that_of_the_formula(counts, n_drawn, n_extra) -> None:
    n_total, n_candidates = sum(counts) + 60, 20
    found = log_inclusion(np.array(counts), n_drawn, n_total, n_extra, n_candidates)
    for count, log_q in zip(counts, found, strict=True):
        missed = (1 - min(n_drawn / n_total, 1 - 1e-9)) ** count * (1 - n_extra / n_candidates)
        assert np.isfinite(log_q)
        assert log_q <= 0
        assert np.exp(log_q) == pytest.approx(1 - missed, abs=1e-6)

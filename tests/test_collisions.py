"""Which candidates collide with a target, in any part of the targets."""

from __future__ import annotations

import pytest
import torch

from recbole_pixel.collisions import Collisions, PairCollisions, RowCollisions, positions_among

ROWS = RowCollisions.among(
    torch.tensor([0, 3, 7, 9]), torch.tensor([[3, 7, 0], [9, 8, 0]]), row_of_target=torch.tensor([0, 0, 1])
)
PAIRS = PairCollisions(torch.tensor([2, 0, 1, 0, 1, 0]), torch.tensor([3, 1, 1, 2, 2, 1]))  # the same, one named twice
EXPECTED = [[False, True, True, False], [False, True, True, False], [False, False, False, True]]


def test_positions_are_found_and_what_is_no_candidate_has_none():
    found = positions_among(torch.tensor([0, 3, 7, 9]), torch.tensor([[9, 3, 0], [8, 10, 7]]))
    assert found.tolist() == [[3, 1, -1], [-1, -1, 2]]
    assert positions_among(torch.tensor([4]), torch.tensor([3, 4, 5, 0])).tolist() == [-1, 0, -1, -1]


@pytest.mark.parametrize("collisions", [ROWS, PAIRS], ids=["rows", "pairs"])
@pytest.mark.parametrize("n_lines", [1, 2, 3])
def test_what_collides_is_at_minus_infinity_whatever_the_part(collisions: Collisions, n_lines: int):
    masks = []
    for first in range(0, 3, n_lines):
        scores = torch.ones(min(n_lines, 3 - first), 4)
        assert collisions.exclude_(scores, first) is scores
        assert ((scores == 1) | (scores == -torch.inf)).all()
        masks += (scores < 0).tolist()
    assert masks == EXPECTED


@pytest.mark.parametrize("collisions", [ROWS, PAIRS], ids=["rows", "pairs"])
def test_the_target_itself_is_kept(collisions: Collisions):
    scores = collisions.exclude_(torch.zeros(2, 4), 1, own=torch.tensor([2, 3]))
    assert (scores < 0).tolist() == [[False, True, False, False], [False, False, False, False]]


def test_gradients_reach_what_does_not_collide():
    logits = torch.zeros(3, 4, requires_grad=True)
    ROWS.exclude_(logits.clone(), 0).exp().sum().backward()
    assert (logits.grad == 0).tolist() == EXPECTED

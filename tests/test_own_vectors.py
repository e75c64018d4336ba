"""Items that were trained on rank by vectors of their own, others by what content predicts of these."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from recbole_pixel.encoder import FeatureEncoder
from recbole_pixel.item_tower import ItemTower
from recbole_pixel.own_vectors import FEW, OwnVectors, expected_noise


class Rows:
    """Item inputs from a tensor (N, F)."""

    from_trunk = True

    def __init__(self, table: torch.Tensor) -> None:
        self.table = table

    def fetch(self, ids: torch.Tensor) -> torch.Tensor:
        return self.table[ids]


def made(n_items: int = 8, n_features: int = 3, noise: float = 0.0, n_cold: int = 2) -> ItemTower:
    """A tower of which the last ``n_cold`` items are not trained on."""
    torch.manual_seed(0)
    inputs = Rows(torch.randn(n_items, n_features))
    tower = ItemTower(FeatureEncoder(n_features), inputs, n_items, 4, standardise=True, scale=1.0, noise=noise)
    tower.give_own_vectors(torch.randn(n_items, 4))
    counts = torch.full((n_items,), 10.0)
    counts[0] = counts[n_items - n_cold :] = 0
    tower.take_counts(counts)
    return tower


def test_who_was_trained_on_ranks_by_its_own_vector_and_others_by_content():
    tower = made().eval()
    assert tower.own is not None
    content = tower.encode(tower.inputs.fetch(torch.arange(1, 8)))
    assert torch.equal(tower.weight[1:6], tower.own.table.weight[1:6])
    assert torch.equal(tower.weight[6:], content[5:])
    assert tower.weight[0].abs().sum() == 0
    assert torch.equal(
        tower.encode_items(torch.zeros(7, dtype=torch.long), tower.inputs.fetch(torch.arange(1, 8))), content
    )


def test_the_error_is_the_mean_squared_distance_and_what_is_rare_counts_less():
    own = OwnVectors(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0], [9.0, 9.0]])).train()
    own.take_counts(torch.tensor([0.0, FEW, 3.0 * FEW, 0.0]))
    content = torch.zeros(3, 2, requires_grad=True)
    vectors = own(torch.tensor([1, 2, 3]), content)
    assert vectors.tolist() == [[1.0, 0.0], [0.0, 3.0], [0.0, 0.0]]
    error = own.take_error()
    assert error is not None
    assert error.tolist() == pytest.approx([0.5 * 1 + 0.75 * 9, 0.5 + 0.75])
    assert own.take_error() is None, "it is added to one loss"


def test_ranking_teaches_the_rows_and_prediction_teaches_the_content():
    tower = made().train()
    with tower.step(torch.arange(8)) as catalogue:
        ranked = catalogue.vectors.square().sum()
    ranked.backward(retain_graph=True)
    own, projection = tower.own, tower.projection
    assert isinstance(own, OwnVectors)
    assert isinstance(projection, nn.Linear)
    assert projection.weight.grad is None or not projection.weight.grad.any()
    rows = own.table.weight.grad
    assert rows is not None
    assert rows[1:6].abs().sum(1).all()
    assert not rows[[0, 6, 7]].any()
    before = rows.clone()
    tower.with_extra(torch.zeros(())).backward()
    assert projection.weight.grad is not None
    assert projection.weight.grad.any()
    assert torch.equal(rows, before), "rows stand still for what predicts them"


def test_rows_of_items_that_were_not_trained_on_stay_zero_under_weight_decay():
    tower = made()
    optimizer = torch.optim.AdamW(tower.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        with tower.train().step(torch.arange(8)) as catalogue:
            loss = tower.with_extra((catalogue.vectors - 1).square().sum())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert tower.own is not None
    assert not tower.own.table.weight[[0, 6, 7]].any()
    assert tower.own.table.weight[1:6].abs().sum(1).all()


def test_expected_noise_is_what_drawn_noise_adds_on_average():
    tower = made(noise=0.2)
    arrays = tower.inputs.fetch(torch.arange(1, 8))
    assert torch.equal(tower.train().encode(arrays), tower.encode(arrays)), "none is drawn"
    tower.standardising.draws = True
    still = tower.eval().encode(arrays)
    tower.train()
    drawn = torch.stack([(tower.encode(arrays) - still).square().sum(1).mean() for _ in range(3000)]).mean()
    expected = expected_noise(tower)
    assert isinstance(expected, torch.Tensor)
    assert drawn.item() == pytest.approx(expected.item(), rel=0.05)


def test_content_predicts_as_ridge_regression_does():
    """Of items alike in counts, the least squares with the penalty of the noise, whatever the learning rate."""
    tower = made(n_items=60, noise=0.3)
    tower.fit_standardising()
    own, projection = tower.own, tower.projection
    assert isinstance(own, OwnVectors)
    assert isinstance(projection, nn.Linear)
    optimizer = torch.optim.LBFGS(projection.parameters(), max_iter=200, tolerance_grad=1e-9)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        with tower.train().step(torch.arange(60)):
            loss = tower.with_extra(torch.zeros(()))
        loss.backward()
        return loss

    optimizer.step(closure)
    arrays, rows = tower.inputs.fetch(torch.arange(1, 58)), own.table.weight.detach()[1:58]
    features = tower.standardising(arrays).double()
    centred, mean = features - features.mean(0), rows.double().mean(0)
    penalty = 0.3**2 * 3 * 57 * torch.eye(3)
    weight = torch.linalg.solve(centred.T @ centred + penalty, centred.T @ (rows - mean))
    assert torch.allclose(projection.weight.T.double(), weight, atol=1e-4)


def test_before_it_is_known_who_is_trained_on_a_step_sees_content_that_learns():
    tower = made()
    tower.own = OwnVectors(torch.randn(8, 4))
    with tower.train().step(torch.arange(8)) as catalogue:
        assert catalogue.vectors.requires_grad
        assert torch.equal(catalogue.vectors[1:], tower.encode(tower.inputs.fetch(torch.arange(1, 8))))

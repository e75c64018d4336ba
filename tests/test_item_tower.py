from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from recbole_pixel.encoder import FeatureEncoder
from recbole_pixel.item_tower import IDTower, ItemTower


class Table:
    """Item inputs from a tensor (N, F), counting what is fetched."""

    from_trunk = True

    def __init__(self, table: torch.Tensor) -> None:
        self.table = table
        self.fetched: list[int] = []

    def fetch(self, ids: torch.Tensor) -> torch.Tensor:
        self.fetched += ids.tolist()
        return self.table[ids]


@pytest.fixture
def table() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(12, 6)


@pytest.fixture
def tower(table) -> ItemTower:
    return ItemTower(FeatureEncoder(6), Table(table), n_items=12, size=4, chunk=5)


def test_a_step_encodes_each_item_once_and_never_the_padding(tower):
    tower.train()
    ids = torch.tensor([0, 2, 5, 11])
    with tower.step(ids):
        tower(torch.tensor([[2, 2, 5], [0, 11, 2]]))
    assert tower.inputs.fetched == [2, 5, 11]
    assert tower.n_encoded == 3


def test_a_step_and_the_table_give_the_same_vectors_and_zero_for_padding(tower):
    query = torch.tensor([[2, 0], [11, 5]])
    tower.train()
    with tower.step(torch.tensor([0, 2, 5, 11])):
        in_step = tower(query)
    assert torch.allclose(in_step, tower.eval()(query))
    assert in_step[0, 1].abs().sum() == 0


def test_evaluation_encodes_each_item_once(tower):
    tower.eval()
    for _ in range(3):
        assert tower.weight.shape == (12, 4)
        tower(torch.tensor([3, 4]))
    assert sorted(tower.inputs.fetched) == list(range(1, 12))


def test_the_kept_table_is_fresh_after_train_eval_and_load(tower):
    before = tower.eval().weight.clone()
    with torch.no_grad():
        tower.projection.bias += 1
    assert torch.allclose(tower.weight, before), "kept while nothing says otherwise"
    assert torch.allclose(tower.eval().weight[1:], before[1:] + 1)
    state = copy.deepcopy(tower.state_dict())
    state["projection.bias"] += 1
    tower.load_state_dict(state)
    assert torch.allclose(tower.weight[1:], before[1:] + 2)
    tower.train()
    assert torch.allclose(tower.eval().weight[1:], before[1:] + 2)


def test_the_table_is_no_part_of_the_checkpoint(tower):
    keys = set(tower.state_dict())
    assert tower.eval().weight.shape == (12, 4)
    assert set(tower.state_dict()) == keys == {"projection.weight", "projection.bias"}


def test_asking_for_vectors_in_training_outside_of_a_step_fails_loudly(tower):
    tower.train()
    for ask in (lambda: tower(torch.tensor([1])), lambda: tower.weight):
        with pytest.raises(RuntimeError, match=r"step\(ids\)"):
            ask()


def test_gradients_reach_the_projection_from_every_lookup(tower):
    tower.train()
    with tower.step(torch.tensor([0, 1, 2])):
        (tower(torch.tensor([1, 1])).sum() + tower.candidates()[2].sum()).backward()
    assert torch.allclose(tower.projection.bias.grad, torch.full((4,), 3.0))


def test_a_deepcopy_shares_the_inputs_and_not_the_weights(tower):
    twin = copy.deepcopy(tower)
    assert twin.inputs is tower.inputs
    assert twin.projection.weight is not tower.projection.weight


def test_standardised_features_are_centred_and_of_unit_deviation_with_loud_directions_loud():
    narrow = torch.randn(200, 6) * torch.tensor([5.0, 1.0, 0.5, 0.1, 0.1, 0.1]) + 40
    tower = ItemTower(FeatureEncoder(6), Table(narrow), n_items=200, size=None, standardise=True)
    tower.fit_standardising()
    vectors = tower.eval().weight[1:]
    assert vectors.mean(0).abs().max() < 1e-4
    deviation = vectors.std(0, correction=0)
    assert deviation.square().mean().item() == pytest.approx(1, abs=1e-4)
    assert torch.allclose(deviation / deviation[0], narrow[1:].std(0, correction=0) / narrow[1:, 0].std(correction=0))


def test_the_scale_is_fitted_by_pieces_to_what_it_is_of_all(monkeypatch):
    """With a large mean and pieces that differ; no more than a piece is in float64 at a time."""
    table = (torch.randn(1000, 24) * 3 + torch.linspace(-900, 5000, 24) + torch.arange(1000.0)[:, None]).float()
    tower = ItemTower(FeatureEncoder(24), Table(table), n_items=1000, size=4, standardise=True, chunk=64)
    widened: list[int] = []
    double = torch.Tensor.double
    with monkeypatch.context() as patched:
        patched.setattr(torch.Tensor, "double", lambda tensor: (widened.append(tensor.numel()), double(tensor))[1])
        tower.fit_standardising()
    assert max(widened) == 64 * 24
    wide = table[1:].double()
    assert torch.allclose(tower.standardising.center.double(), wide.mean(0), rtol=1e-6)
    expected = wide.var(0, correction=0).mean().sqrt().item()
    assert tower.standardising.deviation.item() == pytest.approx(expected, rel=1e-6)


def test_vectors_start_with_the_asked_deviation():
    tower = ItemTower(FeatureEncoder(64), Table(torch.rand(300, 64) + 7), 300, size=64, standardise=True, scale=0.05)
    tower.fit_standardising()
    assert tower.eval().weight[1:].std().item() == pytest.approx(0.05, rel=0.1)


def test_features_that_are_all_alike_stay_finite():
    tower = ItemTower(FeatureEncoder(6), Table(torch.ones(4, 6)), n_items=4, size=5, standardise=True)
    tower.fit_standardising()
    assert torch.isfinite(tower.eval().weight).all()


def test_shift_and_scale_are_kept_in_the_state_and_do_not_learn(table):
    tower = ItemTower(FeatureEncoder(6), Table(table), n_items=12, size=4, standardise=True)
    tower.fit_standardising()
    assert {"standardising.center", "standardising.deviation"} <= set(tower.state_dict())
    assert {name for name, _ in tower.named_parameters()} == {"projection.weight", "projection.bias"}


def test_the_id_tower_is_the_embedding_it_was_made_from():
    embedding = nn.Embedding(9, 4, padding_idx=0)
    tower = IDTower(embedding)
    assert torch.equal(tower(torch.arange(9)), embedding(torch.arange(9)))
    assert set(tower.state_dict()) == {"weight"}
    with tower.step(torch.tensor([0, 4, 8])) as catalogue:
        assert torch.equal(tower.candidates(), embedding.weight[[0, 4, 8]])
        assert catalogue.positions(torch.tensor([8])).item() == 2
    assert tower.candidates() is tower.weight

"""Scores that are not computed until something looks at them."""

from __future__ import annotations

import pytest
import torch

from recbole_pixel.objective import CatalogueCrossEntropy
from recbole_pixel.pending_scores import KeepPending, PendingScores

STATES, TABLE = torch.arange(6.0).view(2, 3), torch.arange(12.0).view(4, 3) - 5
PRODUCT = STATES @ TABLE.T


@pytest.mark.parametrize(
    "multiply",
    [
        lambda states, table: torch.matmul(states, table.transpose(0, 1)),
        lambda states, table: states @ table.T,
        lambda states, table: states.mm(table.t()),
    ],
)
def test_each_way_to_multiply_is_left_pending(multiply):
    with KeepPending(4):
        scores = multiply(STATES, TABLE)
    assert type(scores) is PendingScores
    assert torch.equal(scores.states, STATES)
    assert torch.equal(scores.table, TABLE)


def test_other_products_are_computed():
    with KeepPending(4):
        others = [STATES @ TABLE.T[:, :2], TABLE @ STATES.T, STATES[None] @ TABLE.T, TABLE @ torch.ones(3)]
    assert not any(isinstance(other, PendingScores) for other in others)
    assert torch.equal(others[0], PRODUCT[:, :2])
    assert type(STATES @ TABLE.T) is torch.Tensor, "and all are outside"


def test_shape_type_and_device_are_known_without_computing(monkeypatch):
    scores = PendingScores(STATES, TABLE)
    monkeypatch.setattr("recbole_pixel.pending_scores._product_of", lambda scores: pytest.fail("computed"))
    assert (scores.shape, scores.size(1), len(scores), scores.dim()) == ((2, 4), 4, 2, 2)
    assert (scores.dtype, scores.device) == (torch.float32, torch.device("cpu"))


@pytest.mark.parametrize(
    "look",
    [
        lambda scores: scores / 2,
        lambda scores: scores[:, torch.tensor([3, 1])],
        lambda scores: torch.softmax(scores, dim=1),
        lambda scores: torch.cat([scores, 1 + scores]),
        lambda scores: scores.T,
        lambda scores: torch.nn.functional.cross_entropy(scores, torch.tensor([0, 3])),
        lambda scores: torch.tensor(scores.tolist()),
    ],
)
@pytest.mark.parametrize("within", [True, False])
def test_whatever_looks_at_them_sees_the_product(look, within):
    if within:
        with KeepPending(4):
            found = look(STATES @ TABLE.T)
    else:
        found = look(PendingScores(STATES, TABLE))
    assert type(found) is torch.Tensor
    assert torch.equal(found, look(PRODUCT))


def test_gradients_pass_through():
    states, table = STATES.clone().requires_grad_(), TABLE.clone().requires_grad_()
    with KeepPending(4):
        (states @ table.T).square().sum().backward()
    assert torch.equal(states.grad, 2 * PRODUCT @ TABLE)
    assert torch.equal(table.grad, 2 * PRODUCT.T @ STATES)


@pytest.mark.parametrize(
    "change",
    [
        lambda scores: scores.div_(2),
        lambda scores: scores.__setitem__((slice(None), 0), -5.0),
        lambda scores: scores.masked_fill_(torch.tensor([True, False, False, True]), -5.0),
    ],
)
def test_what_is_changed_in_place_stays_changed(change):
    states = STATES.clone().requires_grad_()
    with KeepPending(4):
        scores = states @ TABLE.T
        with torch.no_grad():
            scores.max()  # looked at, without gradients, before
        change(scores)
    expected_states = STATES.clone().requires_grad_()
    expected = expected_states @ TABLE.T
    change(expected)
    targets = torch.tensor([1, 3])
    loss, wanted = (CatalogueCrossEntropy(limit=16)(logits, targets) for logits in (scores, expected))
    assert torch.equal(loss, wanted)
    loss.backward()
    wanted.backward()
    assert torch.equal(states.grad, expected_states.grad)

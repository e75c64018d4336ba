"""Losses of a step: their formulas, and that chunks change nothing but the memory."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from recbole_pixel.catalogue import StepCatalogue
from recbole_pixel.collisions import Collisions, PairCollisions, RowCollisions
from recbole_pixel.objective import CatalogueCrossEntropy, PairwiseCrossEntropy, SharedNegativeLoss
from recbole_pixel.pending_scores import PendingScores


@pytest.fixture
def catalogue() -> StepCatalogue:
    return StepCatalogue(torch.tensor([0, 3, 7, 9]), torch.arange(8.0).view(4, 2))


def test_without_a_catalogue_it_is_torchs_cross_entropy():
    logits, targets = torch.randn(5, 8), torch.tensor([0, 3, 7, 7, 1])
    assert torch.equal(CatalogueCrossEntropy()(logits, targets), F.cross_entropy(logits, targets))


def test_targets_are_found_by_id_and_only_candidates_are_ranked(catalogue):
    loss = CatalogueCrossEntropy()
    loss.catalogue = catalogue
    catalogue.is_candidate = torch.tensor([False, True, True, True])
    logits = torch.tensor([[50.0, 1.0, 2.0, 3.0]])
    expected = -torch.log_softmax(logits[0, 1:], 0)[1]  # item 7 is the second candidate
    assert torch.allclose(loss(logits, torch.tensor([7])), expected)


def test_log_q_is_subtracted_and_makes_the_sample_an_estimate_of_the_whole(catalogue):
    """With many draws, the corrected loss over samples approaches the loss over everything; uncorrected it does not."""
    torch.manual_seed(0)
    logits = torch.randn(40)
    frequency = torch.softmax(2 * torch.randn(40), 0)
    inclusion = 1 - (1 - frequency) ** 12
    losses = {True: [], False: []}
    for _ in range(3000):
        drawn = torch.rand(40) < inclusion
        drawn[5] = True
        ids = torch.cat([torch.tensor([0]), drawn.nonzero()[:, 0] + 1])
        for corrected in losses:
            loss = CatalogueCrossEntropy(corrected)
            log_q = torch.cat([torch.zeros(1), inclusion[drawn].log()])
            log_q[ids == 6] = 0.0  # the target is always there
            candidate = ids > 0
            loss.catalogue = StepCatalogue(ids, torch.zeros(len(ids), 1), log_q, candidate)
            sampled = torch.cat([torch.zeros(1), logits[drawn]])[None]
            losses[corrected].append(loss(sampled, torch.tensor([6])).exp().item())
    whole = F.cross_entropy(logits[None], torch.tensor([5])).exp().item()
    corrected, uncorrected = (sum(losses[key]) / len(losses[key]) for key in (True, False))
    assert abs(corrected / whole - 1) < 0.05
    assert abs(uncorrected / whole - 1) > 0.2


def test_collisions_are_masked_but_never_the_target(catalogue):
    loss = CatalogueCrossEntropy()
    rows, row_of_target = torch.tensor([[9, 0, 0], [3, 7, 0]]), torch.tensor([1])
    loss.catalogue, loss.collisions = catalogue, RowCollisions.among(catalogue.ids, rows, row_of_target)
    logits = torch.tensor([[0.5, 1.0, 2.0, 3.0]])
    expected = F.cross_entropy(torch.tensor([[0.5, 2.0, 3.0]]), torch.tensor([1]))
    assert torch.allclose(loss(logits, torch.tensor([7])), expected)
    assert logits.tolist() == [[0.5, 1.0, 2.0, 3.0]], "the caller's scores are left alone"


N_ITEMS, N_TARGETS, N_ROWS, SIZE = 90, 41, 7, 8
IDS = torch.cat(
    [torch.zeros(1, dtype=torch.long), torch.randperm(N_ITEMS, generator=torch.manual_seed(3))[:60].sort()[0] + 1]
)


def step(is_whole: bool, collides: str | None) -> tuple[StepCatalogue | None, Collisions | None, torch.Tensor]:
    """A catalogue of 60 items with log q and one that may not be ranked, collisions, and targets as ids."""
    rng = torch.manual_seed(1)
    rows = IDS[torch.randint(0, 61, (N_ROWS, 6), generator=rng)]
    row_of_target = torch.randint(0, N_ROWS, (N_TARGETS,), generator=rng)
    may = torch.ones(61, dtype=torch.bool)
    may[[0, 5]] = False
    targets = IDS[torch.randint(6, 61, (N_TARGETS,), generator=rng)]
    targets[:3] = targets[0]  # the same item, three times
    if is_whole:
        return None, None, targets
    catalogue = StepCatalogue(IDS, torch.zeros(61, 1), -3 * torch.rand(61, generator=rng), may)
    if collides == "rows":
        rows[:, 0] = IDS[6:13]
        return catalogue, RowCollisions.among(IDS, rows, row_of_target), targets
    if collides == "pairs":
        pairs = torch.randint(0, N_TARGETS, (200,), generator=rng), torch.randint(1, 61, (200,), generator=rng)
        return catalogue, PairCollisions(*pairs), targets
    return catalogue, None, targets


def loss_and_gradients(
    limit: int, is_whole: bool, collides: str | None, of_all: bool, autocast: bool
) -> list[torch.Tensor]:
    loss = CatalogueCrossEntropy(limit=limit)
    loss.catalogue, loss.collisions, targets = step(is_whole, collides)
    rng = torch.manual_seed(2)
    states = torch.randn(N_TARGETS, SIZE, generator=rng, requires_grad=True)
    table = torch.randn(N_ITEMS + 1 if of_all or is_whole else 61, SIZE, generator=rng, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        value = loss(PendingScores(states, table), targets)
    (3 * value).backward()
    return [value.detach(), states.grad, table.grad]


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize("collides", [None, "rows", "pairs"])
@pytest.mark.parametrize(("is_whole", "of_all"), [(False, False), (False, True), (True, False)])
def test_chunks_give_the_plain_loss_and_gradients(is_whole, of_all, collides, autocast):
    """Of a step's table, of a whole table in a step, and without a step; chunks of 1, 5 and 13 targets."""
    plain = loss_and_gradients(2**20, is_whole, collides, of_all, autocast)
    assert plain[0] > 2
    for n_rows in (1, 5, 13):
        width = N_ITEMS + 1 if is_whole else 61
        chunked = loss_and_gradients(4 * width * n_rows, is_whole, collides, of_all, autocast)
        assert (plain[0] - chunked[0]).abs() < 1e-5
        for one, other in zip(plain[1:], chunked[1:], strict=True):
            assert one.abs().max() > 0.05
            # bf16 has 8 bits: a sum of rounded products differs from the sum that is rounded once
            assert (one - other).abs().max() < (1e-2 * one.abs().max() if autocast else 1e-5)


def test_a_chunked_loss_is_known_to_be_without_gradients():
    loss = CatalogueCrossEntropy(limit=1)
    states, table = torch.randn(4, 3, requires_grad=True), torch.randn(5, 3)
    with torch.no_grad():
        value = loss(PendingScores(states, table), torch.tensor([1, 2, 3, 4]))
    assert not value.requires_grad
    assert torch.allclose(value, F.cross_entropy(states @ table.T, torch.tensor([1, 2, 3, 4])))


def test_a_second_backward_pass_is_refused():
    loss = CatalogueCrossEntropy(limit=1)
    states = torch.randn(4, 3, requires_grad=True)
    value = loss(PendingScores(states, torch.randn(5, 3)), torch.tensor([1, 2, 3, 4]))
    value.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="one backward pass only"):
        value.backward()


def test_pairwise_cross_entropy_is_the_papers_formula():
    positive, negative = torch.tensor([0.3, -2.0]), torch.tensor([1.5, 0.1])
    expected = -(torch.sigmoid(positive).log() + (1 - torch.sigmoid(negative)).log()).mean()
    assert torch.allclose(PairwiseCrossEntropy()(positive, negative), expected)


def by_hand(
    kind: str, states: torch.Tensor, own: torch.Tensor, negatives: torch.Tensor, allowed: torch.Tensor
) -> torch.Tensor:
    losses = []
    for state, vector, may in zip(states, own, allowed, strict=True):
        positive, others = state @ vector, (negatives @ state)[may]
        if kind == "BPR":
            losses.append(-F.logsigmoid(positive - others).mean())
        else:
            losses.append(-F.logsigmoid(positive) - F.logsigmoid(-others).mean())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("limit", [2**20, 4 * 6 * 3], ids=["at once", "three targets at a time"])
@pytest.mark.parametrize("kind", ["BPR", "BCE"])
def test_shared_negatives_are_their_formula_and_collide_with_none(kind, limit):
    torch.manual_seed(0)
    states, own = torch.randn(8, 4, requires_grad=True), torch.randn(8, 4, requires_grad=True)
    negatives = torch.randn(6, 4, requires_grad=True)
    ids = torch.tensor([2, 3, 5, 7, 11, 13])
    rows, row_of_target = torch.tensor([[3, 4, 0], [2, 13, 5], [1, 0, 0]]), torch.tensor([0, 0, 0, 1, 1, 1, 2, 2])
    allowed = torch.stack([~torch.isin(ids, rows[row]) for row in row_of_target])
    assert allowed.sum(1).tolist() == [5, 5, 5, 3, 3, 3, 6, 6]
    loss = SharedNegativeLoss(kind, RowCollisions.among(ids, rows, row_of_target), limit)
    found = loss(states, (states * own).sum(-1), negatives)
    expected = by_hand(kind, states, own, negatives, allowed)
    assert torch.allclose(found, expected, atol=1e-6)
    leaves = states, own, negatives
    for one, other in zip(torch.autograd.grad(found, leaves), torch.autograd.grad(expected, leaves), strict=True):
        assert other.abs().max() > 0.01
        assert torch.allclose(one, other, atol=1e-6)


def test_a_target_whose_user_owns_all_shared_negatives_adds_nothing():
    ids, everything = torch.tensor([2, 3]), torch.tensor([[2, 3]])
    loss = SharedNegativeLoss("BPR", RowCollisions.among(ids, everything, torch.tensor([0])))
    states = torch.ones(1, 2, requires_grad=True)
    value = loss(states, torch.ones(1), torch.ones(2, 2))
    value.backward()
    assert value.item() == 0
    assert states.grad.tolist() == [[0, 0]]

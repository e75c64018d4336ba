from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from recbole_pixel.catalogue import CatalogueCrossEntropy, PairwiseCrossEntropy, StepCatalogue, history_collisions


@pytest.fixture
def catalogue() -> StepCatalogue:
    return StepCatalogue(torch.tensor([0, 3, 7, 9]), torch.arange(8.0).view(4, 2))


def test_lookup_finds_vectors_by_id(catalogue):
    found = catalogue.lookup(torch.tensor([[9, 0], [3, 7]]))
    assert found.tolist() == [[[6, 7], [0, 1]], [[2, 3], [4, 5]]]


@pytest.mark.parametrize("absent", [1, 8, 10])
def test_an_item_outside_the_catalogue_is_named(catalogue, absent):
    with pytest.raises(LookupError, match=rf"\[{absent}\]"):
        catalogue.lookup(torch.tensor([3, absent]))


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
    rows = torch.tensor([[3, 7, 0], [9, 0, 0]])
    mask = history_collisions(catalogue, rows, torch.tensor([0, 0, 1]))
    assert mask.tolist() == [[False, True, True, False]] * 2 + [[False, False, False, True]]
    loss = CatalogueCrossEntropy()
    loss.catalogue, loss.collisions = catalogue, mask[:1]
    logits = torch.tensor([[0.5, 1.0, 2.0, 3.0]])
    expected = F.cross_entropy(torch.tensor([[0.5, 2.0, 3.0]]), torch.tensor([1]))
    assert torch.allclose(loss(logits, torch.tensor([7])), expected)


def test_pairwise_cross_entropy_is_the_papers_formula():
    positive, negative = torch.tensor([0.3, -2.0]), torch.tensor([1.5, 0.1])
    expected = -(torch.sigmoid(positive).log() + (1 - torch.sigmoid(negative)).log()).mean()
    assert torch.allclose(PairwiseCrossEntropy()(positive, negative), expected)

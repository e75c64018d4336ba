"""Losses of any scores, catalogues and collisions: those of a loop, in chunks as at once, with finite gradients."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from examples import tried
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recbole_pixel.catalogue import StepCatalogue
from recbole_pixel.collisions import RowCollisions
from recbole_pixel.objective import CatalogueCrossEntropy, PairwiseCrossEntropy, SharedNegativeLoss
from recbole_pixel.pending_scores import PendingScores

SCALES = st.sampled_from([0.0, 1e-3, 1.0, 30.0, 1e3])
"""Of states: those of 1,000 make scores that no exponential survives."""


@st.composite
def steps(draw: Any) -> dict[str, Any]:
    """A step: ids of its catalogue, states, vectors, targets, rows, log q, and which ids are candidates."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    others = draw(st.sets(st.integers(1, 40), min_size=2, max_size=9))
    ids, n_targets, width = torch.tensor([0, *sorted(others)]), draw(st.integers(1, 7)), draw(st.integers(1, 4))
    chosen = torch.randint(1, len(ids), (n_targets,), generator=generator)
    is_candidate = torch.rand(len(ids), generator=generator) < 0.7
    is_candidate[0] = False
    is_candidate[chosen] = True
    rows = ids[torch.randint(0, len(ids), (n_targets, width), generator=generator)]
    return {
        "ids": ids,
        "states": draw(SCALES) * torch.randn(n_targets, 3, generator=generator, dtype=torch.float64),
        "vectors": torch.randn(len(ids), 3, generator=generator, dtype=torch.float64),
        "targets": ids[chosen],
        "rows": rows,
        "log_q": draw(st.sampled_from([None, -3 * torch.rand(len(ids), generator=generator, dtype=torch.float64)])),
        "is_candidate": draw(st.sampled_from([None, is_candidate])),
        "masks": draw(st.booleans()),
        "corrects": draw(st.booleans()),
    }


def naive_cross_entropy(step: dict[str, Any]) -> float:
    """The mean over targets of ``log sum exp(logits) - logit``, one number at a time."""
    losses, ids = [], step["ids"].tolist()
    for number, target in enumerate(step["targets"].tolist()):
        logits = {}
        for place, item in enumerate(ids):
            is_ranked = step["is_candidate"] is None or bool(step["is_candidate"][place])
            collides = step["masks"] and item and item != target and item in step["rows"][number].tolist()
            if is_ranked and not collides:
                logit = sum(
                    a * b for a, b in zip(step["states"][number].tolist(), step["vectors"][place].tolist(), strict=True)
                )
                corrected = step["corrects"] and step["log_q"] is not None
                logits[item] = logit - (float(step["log_q"][place]) if corrected else 0.0)
        top = max(logits.values())
        losses.append(top + math.log(sum(math.exp(logit - top) for logit in logits.values())) - logits[target])
    return sum(losses) / len(losses)


def loss_of(step: dict[str, Any], limit: int, pending: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The loss, and its gradients by states and vectors; scores are computed as ``limit`` bytes allow."""
    states, vectors = (step[name].clone().requires_grad_() for name in ("states", "vectors"))
    loss = CatalogueCrossEntropy(step["corrects"], limit)
    loss.catalogue = StepCatalogue(step["ids"], vectors, step["log_q"], step["is_candidate"])
    if step["masks"]:
        loss.collisions = RowCollisions.among(step["ids"], step["rows"], torch.arange(len(states)))
    value = loss(PendingScores(states, vectors) if pending else states @ vectors.T, step["targets"])
    value.backward()
    return value.detach(), states.grad, vectors.grad


@given(steps())
@tried(60)
def test_cross_entropy_is_that_of_a_loop_in_chunks_as_at_once(step) -> None:
    expected = naive_cross_entropy(step)
    direct = loss_of(step, 2**20, pending=False)
    assert direct[0].item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    for limit in (1, 4 * len(step["ids"]) * 2, 2**20):
        found = loss_of(step, limit, pending=True)
        for one, other in zip(found, direct, strict=True):
            assert one.isfinite().all()
            assert torch.allclose(one, other, rtol=1e-9, atol=1e-9)


@given(steps())
@tried(40)
def test_gradients_are_those_of_small_differences(step) -> None:
    step = {**step, "states": step["states"].clamp(-3, 3)}
    _, by_states, by_vectors = loss_of(step, 1, pending=True)
    for name, gradient in (("states", by_states), ("vectors", by_vectors)):
        move = torch.randn(step[name].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        near = [naive_cross_entropy({**step, name: step[name] + sign * 1e-5 * move}) for sign in (1, -1)]
        assert (gradient * move).sum().item() == pytest.approx((near[0] - near[1]) / 2e-5, rel=1e-3, abs=1e-5)


@given(steps())
@tried(30)
def test_what_is_no_candidate_or_collides_gets_no_gradient(step) -> None:
    *_, by_vectors = loss_of(step, 1, pending=True)
    for place, item in enumerate(step["ids"].tolist()):
        is_ranked = step["is_candidate"] is None or bool(step["is_candidate"][place])
        others = [n for n, target in enumerate(step["targets"].tolist()) if target != item]
        collides = [bool(step["masks"] and item and item in step["rows"][n].tolist()) for n in others]
        if not is_ranked or (all(collides) and len(others) == len(step["targets"])):
            assert not by_vectors[place].any()


@given(steps(), st.sampled_from(["BPR", "BCE"]))
@tried(40)
def test_shared_negatives_are_those_of_a_loop_in_chunks_as_at_once(step, kind) -> None:
    negatives, ids = step["vectors"][1:], step["ids"][1:]
    positive = (step["states"] * 0.5).sum(1)
    expected = 0.0
    for number in range(len(positive)):
        up, row, terms = float(positive[number]), step["rows"][number].tolist(), []
        for place, item in enumerate(ids.tolist()):
            if not (item and item in row):
                score = float(step["states"][number] @ negatives[place])
                terms.append(softplus(score - up) if kind == "BPR" else softplus(score))
        expected += sum(terms) / max(1, len(terms)) + (0.0 if kind == "BPR" else softplus(-up))
    for limit in (1, 2**20):
        states = step["states"].clone().requires_grad_()
        collisions = RowCollisions.among(ids, step["rows"], torch.arange(len(states)))
        loss = SharedNegativeLoss(kind, collisions, limit)(states, positive, negatives)
        loss.backward()
        assert loss.item() == pytest.approx(expected / len(positive), rel=1e-5, abs=1e-5)
        assert states.grad is not None
        assert states.grad.isfinite().all()


@given(st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)), min_size=1, max_size=9))
@tried(40)
def test_pairwise_cross_entropy_is_that_of_a_loop_at_any_scores(pairs) -> None:
    positive, negative = (
        torch.tensor(column, dtype=torch.float64, requires_grad=True) for column in zip(*pairs, strict=True)
    )
    loss = PairwiseCrossEntropy()(positive, negative)
    expected = sum(softplus(-up) + softplus(down) for up, down in pairs) / len(pairs)
    assert loss.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    loss.backward()
    assert positive.grad is not None
    assert (positive.grad <= 0).all()
    assert positive.grad.isfinite().all()


def softplus(value: float) -> float:
    return max(value, 0.0) + math.log1p(math.exp(-abs(value)))

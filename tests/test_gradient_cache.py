from __future__ import annotations

from functools import partial
from weakref import ref

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from recbole_pixel.gradient_cache import chunked_loss, direct_loss


@pytest.fixture
def world():
    """A network with dropout, a batch in four chunks, and a loss that sees all of them."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Dropout(0.3), nn.Linear(12, 4))
    batch = torch.randn(10, 6).split(3)
    targets = torch.randperm(10)

    def chunk(rows, with_loss, /):
        vectors = network(rows)
        return vectors, vectors.square().sum() * 0.01 if with_loss else None

    def contrast(vectors):
        every = F.normalize(torch.cat(vectors), dim=-1)
        return F.cross_entropy(every @ every.T / 0.5, targets)

    return network, [partial(chunk, rows) for rows in batch], contrast


def gradients(network, loss):
    network.zero_grad()
    loss.backward()
    return [parameter.grad.clone() for parameter in network.parameters()]


@pytest.mark.parametrize("training", [True, False])
def test_loss_and_gradient_are_those_of_all_at_once(world, training):
    network, chunks, contrast = world
    network.train(training)
    torch.manual_seed(7)
    direct = direct_loss(chunks, contrast)
    expected = gradients(network, direct)
    torch.manual_seed(7)
    cached = chunked_loss(chunks, contrast, list(network.parameters()))
    found = gradients(network, cached)
    assert abs(cached.item() - direct.item()) < 1e-6
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert any(float(gradient.abs().max()) > 1e-3 for gradient in expected)


def test_random_numbers_go_on_as_if_each_chunk_had_been_read_once(world):
    network, chunks, contrast = world
    torch.manual_seed(3)
    direct_loss(chunks, contrast)
    after_direct = torch.rand(1)
    torch.manual_seed(3)
    chunked_loss(chunks, contrast, list(network.parameters()))
    assert torch.equal(torch.rand(1), after_direct)


def test_the_loss_may_be_scaled_before_its_backward(world):
    network, chunks, contrast = world
    network.eval()
    once = gradients(network, chunked_loss(chunks, contrast, list(network.parameters())))
    thrice = gradients(network, chunked_loss(chunks, contrast, list(network.parameters())) * 3)
    for one, three in zip(once, thrice, strict=True):
        torch.testing.assert_close(one * 3, three)


def test_one_chunks_graph_is_there_at_a_time(world):
    network, chunks, contrast = world
    with_gradient, alive = [], []

    def watched(chunk, with_loss, /):
        with_gradient.append(torch.is_grad_enabled())
        assert not any(vectors() is not None for vectors in alive), "an earlier chunk's graph is still there"
        vectors, own = chunk(with_loss)
        if vectors.requires_grad:
            alive.append(ref(vectors))
        return vectors, own

    chunked_loss([partial(watched, chunk) for chunk in chunks], contrast, list(network.parameters()))
    assert with_gradient == [False] * 4 + [True] * 4
    assert len(alive) == 4


def test_the_gradient_of_what_stands_in_for_an_output_goes_to_what_made_it():
    torch.manual_seed(0)
    shared, head = nn.Linear(5, 3), nn.Linear(3, 2)
    table = torch.randn(4, 5)
    rows = [torch.tensor([0, 1]), torch.tensor([1, 3])]

    def chunks_of(features):
        def chunk(places, with_loss, /):
            return head(features[places]).tanh(), None

        return [partial(chunk, places) for places in rows]

    def loss_of(vectors):
        every = torch.cat(vectors)
        return (every @ every.T).logsumexp(1).sum()

    own = list(head.parameters())
    direct_loss(chunks_of(shared(table)), loss_of).backward()
    expected = [parameter.grad.clone() for parameter in (*shared.parameters(), *own)]
    shared.zero_grad()
    head.zero_grad()
    features = shared(table)
    inner = features.detach().requires_grad_()
    chunked_loss(chunks_of(inner), loss_of, [*own, inner], [*own, features]).backward()
    for parameter, theirs in zip((*shared.parameters(), *own), expected, strict=True):
        torch.testing.assert_close(parameter.grad, theirs, rtol=1e-5, atol=1e-6)


def test_weights_cast_without_gradient_are_cast_again(world):
    """Autocast keeps casts of weights: those of the first pass know no gradient."""
    network, chunks, contrast = world
    network.eval()
    with torch.autocast("cpu", torch.bfloat16):
        cached = chunked_loss(chunks, contrast, list(network.parameters()))
    found = gradients(network, cached)
    with torch.autocast("cpu", torch.bfloat16):
        direct = direct_loss(chunks, contrast)
    for ours, theirs in zip(found, gradients(network, direct), strict=True):
        assert float(ours.abs().max()) > 0
        torch.testing.assert_close(ours, theirs, rtol=0.05, atol=5e-3)


def test_without_gradient_nothing_is_computed_twice(world):
    _, chunks, contrast = world
    seen = []

    def counted(chunk, with_loss, /):
        seen.append(with_loss)
        return chunk(with_loss)

    with torch.no_grad():
        chunked_loss([partial(counted, chunk) for chunk in chunks], contrast, [])
    assert seen == [True] * 4

"""Losses over a batch that is encoded in chunks: as large as contrast wants it, in the memory of one chunk.

Gradient caching (Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", RepL4NLP 2021):
vectors are computed without gradient, the loss is taken of all of them, and each chunk is computed once more, with
gradient, to be told what the loss wants of its vectors. The result is the gradient of the whole batch, exactly.

Both passes run when the loss is asked for, and the backward pass hands out what they found: it may then be scaled,
accumulated, and averaged over ranks by hooks, as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor


class Chunk(Protocol):
    """A part of the batch."""

    def __call__(self, with_loss: bool, /) -> tuple[Tensor, Tensor | None]:
        """The chunk's vectors, (c, ...), and, where it is asked for and there is one, a loss of the chunk's own.

        It may draw random numbers: drawn again, they are the same.
        """


LossOfVectors = Callable[[list[Tensor]], Tensor]
"""From the vectors of all chunks, in their order, to a scalar."""


def chunked_loss(
    chunks: Sequence[Chunk],
    of_vectors: LossOfVectors,
    leaves: Sequence[Tensor],
    sources: Sequence[Tensor] | None = None,
    twice: bool = True,
) -> Tensor:
    """``of_vectors`` of what the chunks encode, plus the chunks' own losses: a scalar with gradient.

    Args:
        chunks: at least one.
        of_vectors: the loss over the batch.
        leaves: what chunks compute with that the gradient is to reach.
        sources: the tensors that these gradients belong to, where chunks were given something in their place, such as
            the detached output of what runs once for all chunks.
        twice: False for all in one pass, in the memory of all chunks.
    """
    if not twice or not torch.is_grad_enabled():
        return direct_loss(chunks, of_vectors)
    vectors, states = _encoded(chunks)
    with torch.enable_grad():
        wanted = [part.detach().requires_grad_() for part in vectors]
        loss = of_vectors(wanted)
    pulls = torch.autograd.grad(loss, wanted, allow_unused=True) if loss.requires_grad else [None] * len(wanted)
    total, gradients = loss.detach(), [torch.zeros_like(leaf) for leaf in leaves]
    for chunk, pull, state in zip(chunks, pulls, states, strict=True):
        total = total + _gather(chunk, pull, state, leaves, gradients)
    found: Tensor = _Found.apply(total, gradients, *(leaves if sources is None else sources))
    return found


def direct_loss(chunks: Sequence[Chunk], of_vectors: LossOfVectors) -> Tensor:
    """The same in one pass, in the memory of all chunks."""
    vectors, own = zip(*(chunk(True) for chunk in chunks), strict=True)
    loss = of_vectors(list(vectors))
    return loss + sum(part for part in own if part is not None)


@torch.no_grad()
def _encoded(chunks: Sequence[Chunk]) -> tuple[list[Tensor], list[Any]]:
    """Vectors of all chunks, and the states of the generators before each."""
    vectors, states = [], []
    for chunk in chunks:
        states.append(_random_state())
        vectors.append(chunk(False)[0])
    return vectors, states


def _gather(chunk: Chunk, pull: Tensor | None, state: Any, leaves: Sequence[Tensor], gradients: list[Tensor]) -> Tensor:
    """Adds a chunk's gradients to ``gradients``; returns its own loss, or 0."""
    torch.clear_autocast_cache()  # of weights cast without gradient, or within the last chunk's graph
    with _drawing_again(state), torch.enable_grad():
        vectors, own = chunk(True)
        wanted = torch.zeros((), device=vectors.device)
        if pull is not None:
            wanted = (vectors * pull.to(vectors.dtype)).sum()
        if own is not None:
            wanted = wanted + own
    if wanted.requires_grad:
        for total, part in zip(gradients, torch.autograd.grad(wanted, leaves, allow_unused=True), strict=True):
            if part is not None:
                total += part
    return torch.zeros((), device=vectors.device) if own is None else own.detach()


def _random_state() -> Any:
    on_gpu = torch.cuda.is_available() and torch.cuda.is_initialized()
    return torch.get_rng_state(), torch.cuda.get_rng_state() if on_gpu else None


@contextmanager
def _drawing_again(state: Any) -> Iterator[None]:
    """Within it, random numbers are those behind ``state``; behind it, nothing was drawn."""
    on_host, on_gpu = state
    with torch.random.fork_rng(devices=[] if on_gpu is None else [torch.cuda.current_device()]):
        torch.set_rng_state(on_host)
        if on_gpu is not None:
            torch.cuda.set_rng_state(on_gpu)
        yield


class _Found(torch.autograd.Function):
    """A number whose gradients are known."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: list[Tensor], *leaves: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        return (None, None, *(found * gradient.to(found.dtype) for found in ctx.gradients))

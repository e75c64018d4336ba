"""Losses over all scores of states and candidates, of which only some rows exist at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SCORES_AT_ONCE = 128 * 2**20
"""Bytes of the scores, in float32, that are computed at a time; a chunk needs about twice as much."""

Formula = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""From the scores of some targets, (t, U) in float32, and the number of the first of them: their summed loss, and its
gradient by the scores, (t, U). The scores may be overwritten."""


def fits_at_once(n_targets: int, n_candidates: int, limit: int = SCORES_AT_ONCE) -> bool:
    """Whether that many scores are few enough to be computed at once."""
    return n_targets * n_candidates * 4 <= limit


def loss_in_chunks(
    states: Tensor, table: Tensor, formula: Formula, offset: Tensor | None = None, limit: int = SCORES_AT_ONCE
) -> Tensor:
    """The sum over targets of a loss of ``states @ table.T + offset``, as a scalar.

    Each chunk's gradient is taken as soon as its scores are there: no score is computed twice, and three products of
    matrices are made, as many as without chunks.

    Args:
        states: one for each target, (T, D).
        table: the candidates' vectors, (U, D).
        formula: the loss of some targets.
        offset: added to all scores of a target, (T,).
        limit: bytes of scores to compute at a time.
    """
    dtype = _multiplied_in(states, table)
    n_rows = max(1, limit // (4 * max(1, len(table))))
    learns = torch.is_grad_enabled()
    return _LossInChunks.apply(states.to(dtype), table.to(dtype), offset, formula, n_rows, learns)


def _multiplied_in(states: Tensor, table: Tensor) -> torch.dtype:
    """What a product of the two is computed in, under autocast or without."""
    if torch.is_autocast_enabled(states.device.type):
        return torch.get_autocast_dtype(states.device.type)
    return torch.promote_types(states.dtype, table.dtype)


class _LossInChunks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, table: Tensor, offset: Tensor | None, formula: Formula, n_rows: int, learns: bool
    ) -> Tensor:
        """The sum over chunks of ``n_rows`` targets; where it ``learns``, their gradients are kept for the backward."""
        exact = torch.promote_types(states.dtype, torch.float32)
        loss = torch.zeros((), dtype=exact, device=states.device)
        chunks = _Chunks(states, table, offset, learns)
        with torch.autocast(states.device.type, enabled=False):
            for first in range(0, len(states), n_rows):
                loss += chunks.run(slice(first, first + n_rows), formula)
        ctx.gradients = chunks.gradients()
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("this loss was differentiated before; its gradients are kept for one backward pass only")
        found, ctx.gradients = ctx.gradients, None
        wanted = zip(found, ctx.needs_input_grad, strict=False)
        return *(part.mul_(gradient) if part is not None and wants else None for part, wants in wanted), *[None] * 3


class _Chunks:
    """Runs chunks of targets, and gathers the gradients; the table's in float32, as it is a sum over chunks."""

    def __init__(self, states: Tensor, table: Tensor, offset: Tensor | None, learns: bool) -> None:
        self.states, self.table, self.offset = states, table, offset
        self.exact = torch.promote_types(states.dtype, torch.float32)
        self.by_states = torch.empty_like(states) if learns else None
        self.by_table = torch.zeros_like(table, dtype=self.exact) if learns else None
        self.by_offset = torch.empty_like(offset) if learns and offset is not None else None

    def run(self, rows: slice, formula: Formula) -> Tensor:
        """The loss of the targets ``rows``; nothing of the size of their scores is left behind."""
        scores = (self.states[rows] @ self.table.T).to(self.exact)
        if self.offset is not None:
            scores.add_(self.offset[rows, None])
        loss, by_scores = formula(scores, rows.start)
        del scores
        if self.by_offset is not None:
            self.by_offset[rows] = by_scores.sum(1)
        if self.by_states is not None and self.by_table is not None:
            by_scores = by_scores.to(self.states.dtype)
            torch.mm(by_scores, self.table, out=self.by_states[rows])
            _add_product(self.by_table, by_scores.T, self.states[rows])
        return loss

    def gradients(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """By states, table and offset, each of its type; None of what is not asked for."""
        by_table = None if self.by_table is None else self.by_table.to(self.table.dtype)
        return self.by_states, by_table, self.by_offset


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Adds ``left @ right`` to ``total``, which is more exact where these are of half precision."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total.add_(left @ right)

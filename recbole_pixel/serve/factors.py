"""Vectors of users and of items whose products are the scores, read off a model that multiplies some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recbole_pixel.evaluation.score_blocks import Applied, Product, ScoreBlocks

SUMS: set[Callable[..., Any]] = {torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__}


class Factors(NamedTuple):
    """``users @ items.T + bias`` are the scores.

    Attributes:
        users: (B, D).
        items: (N, D).
        bias: what an item scores with every user, (N,), or None.
    """

    users: Tensor
    items: Tensor
    bias: Tensor | None


def factors_of(scores: ScoreBlocks) -> Factors | None:
    """The factors of scores that are products, sums of products, or either with a bias of each item; else None."""
    if isinstance(scores, Product):
        return Factors(scores.users, scores.items.T, None)
    if not isinstance(scores, Applied) or scores.function not in SUMS or len(scores.operands) != 2:
        return None
    found = [_operand(operand, scores.shape[1]) for operand in scores.operands]
    products = [entry for entry in found if isinstance(entry, Factors)]
    biases = [entry if isinstance(entry, Tensor) else entry.bias for entry in found if entry is not None]
    if len(biases) < 2 or not products:
        return None
    there = [bias for bias in biases if bias is not None]
    users, items = (torch.cat([own[place] for own in products], dim=1) for place in (0, 1))  # type: ignore[misc]
    return Factors(users, items, torch.stack(there).sum(0) if there else None)


def _operand(operand: Any, n_items: int) -> Factors | Tensor | None:
    """Factors, or a number for each item, (N,), that an operand of a sum is; None where it is something else."""
    if isinstance(operand, ScoreBlocks):
        return factors_of(operand)
    if isinstance(operand, Tensor) and operand.numel() == n_items and operand.shape[-1] == n_items:
        return operand.reshape(n_items)
    return None

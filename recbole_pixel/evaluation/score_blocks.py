"""Scores of users and items as expressions, of which a block is computed when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

Rows = slice | Tensor  # a slice with start and stop, or row numbers of shape (R,)


class ScoreBlocks(Protocol):
    """Scores of B users and N items.

    Attributes:
        shape: (B, N).
        device: where they are computed.
    """

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def device(self) -> torch.device: ...

    def block(self, rows: Rows, columns: slice) -> Tensor:
        """Scores of some users and a stretch of items, (R, W); a tensor that the caller may write into."""


@dataclass(frozen=True)
class Product:
    """Products of users (B, D) and of items, transposed, (D, N)."""

    users: Tensor
    items: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        return self.users.shape[0], self.items.shape[1]

    @property
    def device(self) -> torch.device:
        return self.items.device

    def block(self, rows: Rows, columns: slice) -> Tensor:
        # by a name that LazyProducts does not wait for
        product: Tensor = torch.ops.aten.mm(self.users[rows], self.items[:, columns])
        return product


@dataclass(frozen=True)
class Whole:
    """Scores that are there, (B, N)."""

    scores: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        return self.scores.shape[0], self.scores.shape[1]

    @property
    def device(self) -> torch.device:
        return self.scores.device

    def block(self, rows: Rows, columns: slice) -> Tensor:
        found = self.scores[rows, columns]
        return found.clone() if isinstance(rows, slice) else found


@dataclass(frozen=True)
class Applied:
    """A function of each score alone, with numbers or tensors that are broadcast over (B, N)."""

    function: Callable[..., Tensor]
    operands: tuple[Any, ...]
    shape: tuple[int, int]
    device: torch.device

    def block(self, rows: Rows, columns: slice) -> Tensor:
        return self.function(*(self._part(operand, rows, columns) for operand in self.operands))

    def _part(self, operand: Any, rows: Rows, columns: slice) -> Any:
        if not isinstance(operand, Tensor):
            return operand.block(rows, columns) if hasattr(operand, "block") else operand
        if operand.dim() and operand.shape[-1] == self.shape[1]:
            operand = operand[..., columns]
        if operand.dim() == 2 and operand.shape[0] == self.shape[0]:
            operand = operand[rows]
        return operand


def is_broadcast(operand: Tensor, shape: tuple[int, int]) -> bool:
    """Whether ``operand`` is broadcast over ``shape``, (B, N), without making it larger."""
    if operand.dim() > 2:
        return False
    return all(size in (1, full) for size, full in zip(reversed(operand.shape), reversed(shape), strict=False))


@dataclass(frozen=True)
class ColumnFilled:
    """Scores of which those of one item are ``value``."""

    scores: ScoreBlocks
    column: int
    value: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.scores.shape

    @property
    def device(self) -> torch.device:
        return self.scores.device

    def block(self, rows: Rows, columns: slice) -> Tensor:
        found = self.scores.block(rows, columns)
        if columns.start <= self.column < columns.stop:
            found[:, self.column - columns.start] = self.value
        return found


class PairsFilled:
    """Scores of which those of pairs of a user and an item are ``value``.

    Args:
        scores: of all others.
        rows: place of each pair's user, (E,).
        columns: its item, (E,).
        value: what these pairs score.
    """

    def __init__(self, scores: ScoreBlocks, rows: Tensor, columns: Tensor, value: float) -> None:
        order = columns.argsort()
        self.scores, self.shape, self.device, self.value = scores, scores.shape, scores.device, value
        self.rows, self.columns = rows[order], columns[order]

    def block(self, rows: Rows, columns: slice) -> Tensor:
        found = self.scores.block(rows, columns)
        bounds = torch.tensor([columns.start, columns.stop], device=self.columns.device)
        first, last = torch.searchsorted(self.columns, bounds).tolist()
        place = self._places(rows, self.rows[first:last])
        inside = place >= 0
        found[place[inside].to(found.device), (self.columns[first:last][inside] - columns.start).to(found.device)] = (
            self.value
        )
        return found

    def _places(self, rows: Rows, wanted: Tensor) -> Tensor:
        """Where the users ``wanted`` (E,) stand among ``rows``; -1 where they do not."""
        places = torch.full((self.shape[0],), -1, device=wanted.device)
        if isinstance(rows, slice):
            places[rows] = torch.arange(rows.stop - rows.start, device=wanted.device)
        else:
            places[rows.to(wanted.device)] = torch.arange(len(rows), device=wanted.device)
        return places[wanted]

"""Scores of users and items as expressions, of which a block is computed when it is asked for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Rows = slice | Tensor  # a slice with start and stop, or row numbers of shape (R,)


class ScoreBlocks:
    """Scores of B users and N items.

    Args:
        shape: (B, N).
        device: where they are computed.
    """

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        self.shape: tuple[int, int] = (shape[0], shape[1])
        self.device = device

    def block(self, rows: Rows, columns: slice) -> Tensor:
        """Scores of some users and a stretch of items, (R, W); a tensor that the caller may write into."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its blocks are")


class Product(ScoreBlocks):
    """Products of users (B, D) and of items, transposed, (D, N)."""

    def __init__(self, users: Tensor, items: Tensor) -> None:
        super().__init__((len(users), items.shape[1]), items.device)
        self.users, self.items = users, items

    def block(self, rows: Rows, columns: slice) -> Tensor:
        """Multiplied here, by a name that :class:`~recbole_pixel.evaluation.lazy_scores.LazyProducts` lets pass."""
        product: Tensor = torch.ops.aten.mm(self.users[rows], self.items[:, columns])
        return product


class Whole(ScoreBlocks):
    """Scores that are there, (B, N)."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__(scores.shape, scores.device)
        self.scores = scores

    def block(self, rows: Rows, columns: slice) -> Tensor:
        """A copy."""
        found = self.scores[rows, columns]
        return found.clone() if isinstance(rows, slice) else found


class Applied(ScoreBlocks):
    """A function of each score alone, with numbers or tensors that are broadcast over (B, N)."""

    def __init__(self, function: Callable[..., Tensor], operands: tuple[Any, ...], like: ScoreBlocks) -> None:
        super().__init__(like.shape, like.device)
        self.function, self.operands = function, operands

    def block(self, rows: Rows, columns: slice) -> Tensor:
        """The function of blocks."""
        return self.function(*(self._part(operand, rows, columns) for operand in self.operands))

    def _part(self, operand: Any, rows: Rows, columns: slice) -> Any:
        if isinstance(operand, ScoreBlocks):
            return operand.block(rows, columns)
        if not isinstance(operand, Tensor):
            return operand
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


class Masked(ScoreBlocks):
    """Scores of which some are ``value``.

    Args:
        scores: what the others are.
        value: what they score.
    """

    def __init__(self, scores: ScoreBlocks, value: float) -> None:
        super().__init__(scores.shape, scores.device)
        self.scores, self.value = scores, value

    def of(self, scores: ScoreBlocks) -> ScoreBlocks:
        """The same mask over other ``scores``."""
        other = copy.copy(self)
        other.scores = scores
        return other


class MaskedColumn(Masked):
    """Scores of which those of one item, ``column``, are ``value``."""

    def __init__(self, scores: ScoreBlocks, column: int, value: float) -> None:
        super().__init__(scores, value)
        self.column = column

    def block(self, rows: Rows, columns: slice) -> Tensor:
        """The others' block, the column filled where it is in it."""
        found = self.scores.block(rows, columns)
        if columns.start <= self.column < columns.stop:
            found[:, self.column - columns.start] = self.value
        return found


class MaskedColumns(Masked):
    """Scores of which those of some items, ``columns`` (N,) of bool, are ``value``."""

    def __init__(self, scores: ScoreBlocks, columns: Tensor, value: float) -> None:
        super().__init__(scores, value)
        self.columns = columns

    def block(self, rows: Rows, columns: slice) -> Tensor:
        """The others' block, the columns in it filled."""
        found = self.scores.block(rows, columns)
        return found.masked_fill_(self.columns[columns].to(found.device), self.value)


class MaskedPairs(Masked):
    """Scores of which those of pairs of a user and an item are ``value``.

    Args:
        scores: what the others are.
        rows: place of each pair's user, (E,).
        columns: its item, (E,).
        value: what these pairs score.
    """

    def __init__(self, scores: ScoreBlocks, rows: Tensor, columns: Tensor, value: float) -> None:
        super().__init__(scores, value)
        order = columns.argsort()
        self.rows, self.columns = rows[order], columns[order]

    def block(self, rows: Rows, columns: slice) -> Tensor:
        """The others' block, the pairs in it filled."""
        found = self.scores.block(rows, columns)
        bounds = torch.tensor([columns.start, columns.stop], device=self.columns.device)
        first, last = torch.searchsorted(self.columns, bounds).tolist()
        place = self._places(rows)[self.rows[first:last]]
        inside = place >= 0
        column = self.columns[first:last][inside] - columns.start
        found[place[inside].to(found.device), column.to(found.device)] = self.value
        return found

    def _places(self, rows: Rows) -> Tensor:
        """Where each user of the batch stands among ``rows``, (B,); -1 where they do not."""
        device = self.rows.device
        places = torch.full((self.shape[0],), -1, device=device)
        n_rows = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
        places[rows if isinstance(rows, slice) else rows.to(device)] = torch.arange(n_rows, device=device)
        return places

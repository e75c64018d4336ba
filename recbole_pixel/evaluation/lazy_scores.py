"""Lets any model's ``full_sort_predict`` return scores that are not computed yet.

RecBole's models end in a product of users' and all items' vectors, some with a bias, a factor or a second product
behind it. While :class:`LazyProducts` is active, such a product yields :class:`LazyScores`, which remember what is done
to them and compute a block at a time. Whatever else a model does with them computes them whole: then it costs memory as
in RecBole, and nothing changes but that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from recbole_pixel.evaluation.score_blocks import (
    Applied,
    MaskedColumn,
    MaskedColumns,
    MaskedPairs,
    Product,
    ScoreBlocks,
    Whole,
    is_broadcast,
)
from recbole_pixel.unmade_products import UnmadeProducts

ELEMENTWISE: set[Callable[..., Any]] = {
    torch.add, torch.sub, torch.mul, torch.div, torch.true_divide, torch.neg, torch.sigmoid, torch.tanh,
    Tensor.add, Tensor.sub, Tensor.mul, Tensor.div, Tensor.__add__, Tensor.__radd__, Tensor.__sub__, Tensor.__rsub__,
    Tensor.__mul__, Tensor.__rmul__, Tensor.__truediv__, Tensor.__rtruediv__,
}  # fmt: skip


COMPUTED = [
    "__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__", "__bool__", "__float__",
    "__array__", "__iter__", "__abs__", "__invert__", "__and__", "__or__", "__pow__", "__rpow__",
    "__rtruediv__", "__floordiv__", "__rfloordiv__", "__mod__", "__rmod__", "__matmul__", "__rmatmul__",
]  # fmt: skip
"""Operators of tensors that are not lazy; Python looks them up in the class, past its ``__getattr__``."""


class LazyProducts(UnmadeProducts):
    """Within it, a product of two matrices of which the second has a column for each item is not computed yet."""

    def takes(self, rows: Any, columns: Any) -> bool:
        """Whether blocks of the product can be computed later, alike."""
        if not (isinstance(rows, Tensor) and isinstance(columns, Tensor)) or torch.compiler.is_compiling():
            return False
        if torch.is_grad_enabled() or torch.is_autocast_enabled(rows.device.type):
            return False
        if rows.layout != torch.strided or columns.layout != torch.strided:  # sparse ones have no blocks
            return False
        return rows.dim() == 2 == columns.dim() and columns.shape[1] == self.n_columns and rows.dtype == columns.dtype

    def instead(self, rows: Tensor, columns: Tensor) -> LazyScores:
        """Scores that remember both."""
        return LazyScores(_Cell(Product(rows, columns)))


class _Cell:
    """What several views of the same scores share."""

    def __init__(self, blocks: ScoreBlocks) -> None:
        self.blocks = blocks


class LazyScores:
    """Scores (B, N), or flattened (B * N,), that are computed when they are looked at; otherwise like a tensor."""

    def __init__(self, cell: _Cell, is_flat: bool = False) -> None:
        self._cell, self._is_flat = cell, is_flat

    @classmethod
    def of(cls, blocks: ScoreBlocks) -> LazyScores:
        """Scores that are there in ``blocks``."""
        return cls(_Cell(blocks))

    @property
    def blocks(self) -> ScoreBlocks:
        """The scores of users and items, a block at a time."""
        return self._cell.blocks

    @property
    def shape(self) -> torch.Size:
        """As a tensor's."""
        n_rows, n_items = self.blocks.shape
        return torch.Size([n_rows * n_items] if self._is_flat else [n_rows, n_items])

    def size(self, dim: int | None = None) -> Any:
        """As a tensor's."""
        return self.shape if dim is None else self.shape[dim]

    def __len__(self) -> int:
        return self.shape[0]

    def dense(self) -> Tensor:
        """The scores, computed whole, and kept: what is done to them in place stays done."""
        if not isinstance(self.blocks, Whole):
            n_rows, n_items = self.blocks.shape
            self._cell.blocks = Whole(self.blocks.block(slice(0, n_rows), slice(0, n_items)))
        scores: Tensor = self.blocks.scores  # type: ignore[attr-defined]
        return scores.view(-1) if self._is_flat else scores

    def view(self, *shape: Any) -> Any:
        """As a tensor's; lazy for the two shapes that RecBole asks for."""
        asked = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], (int, torch.dtype)) else shape
        n_rows, n_items = self.blocks.shape
        if asked in ((-1,), (n_rows * n_items,)):
            return LazyScores(self._cell, is_flat=True)
        if asked in ((-1, n_items), (n_rows, n_items), (n_rows, -1)):
            return LazyScores(self._cell)
        return self.dense().view(*shape)

    reshape = view

    def __setitem__(self, index: Any, value: Any) -> None:
        match index:
            case (slice() as rows, int() as column) if rows == slice(None) and self._is_filled(value, column):
                self._cell.blocks = MaskedColumn(self.blocks, column % self.blocks.shape[1], float(value))
            case (slice() as rows, Tensor() as columns) if rows == slice(None) and self._are_chosen(columns, value):
                self._cell.blocks = MaskedColumns(self.blocks, columns, float(value))
            case (Tensor() as rows, Tensor() as columns) if self._is_filled(value) and self._are_pairs(rows, columns):
                self._cell.blocks = MaskedPairs(self.blocks, rows, columns, float(value))
            case _:
                self.dense()[index] = value

    def _is_filled(self, value: Any, column: int = 0) -> bool:
        n_items = self.blocks.shape[1]
        return not self._is_flat and _is_number(value) and -n_items <= column < n_items

    def _are_chosen(self, columns: Tensor, value: Any) -> bool:
        return self._is_filled(value) and columns.dtype == torch.bool and columns.shape == self.blocks.shape[1:]

    def _are_pairs(self, rows: Tensor, columns: Tensor) -> bool:
        """Whether they are places, one by one: what torch broadcasts, counts from the end or refuses is left to it."""
        if rows.shape != columns.shape:
            return False
        return all(_are_places(part, size) for part, size in zip((rows, columns), self.blocks.shape, strict=True))

    def __getitem__(self, index: Any) -> Tensor:
        return self.dense()[index]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.dense(), name)

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called by torch for functions of scores, such as ``torch.sigmoid(scores)`` or ``tensor + scores``."""
        if func in ELEMENTWISE and not kwargs:
            return _applied(func, args)
        return func(*_computed(args), **_computed(kwargs or {}))

    def __add__(self, other: Any) -> Any:
        return _applied(torch.add, (self, other))

    def __radd__(self, other: Any) -> Any:
        return _applied(torch.add, (other, self))

    def __sub__(self, other: Any) -> Any:
        return _applied(torch.sub, (self, other))

    def __rsub__(self, other: Any) -> Any:
        return _applied(Tensor.__rsub__, (self, other))

    def __mul__(self, other: Any) -> Any:
        return _applied(torch.mul, (self, other))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        return _applied(torch.div, (self, other))

    def __neg__(self) -> Any:
        return _applied(torch.neg, (self,))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _are_places(part: Tensor, size: int) -> bool:
    return part.dim() == 1 and part.dtype == torch.int64 and bool(((part >= 0) & (part < size)).all())


def _applied(function: Callable[..., Any], operands: Sequence[Any]) -> Any:
    """``function`` of the operands: lazy where it acts on each score alone, computed where it does not."""
    lazy = [operand for operand in operands if isinstance(operand, LazyScores)]
    is_flat, shape = lazy[0]._is_flat, lazy[0].blocks.shape
    for operand in operands:
        if isinstance(operand, LazyScores):
            fits = operand._is_flat == is_flat and operand.blocks.shape == shape
            fits = fits and not isinstance(operand.blocks, Whole)  # it may be written to before it is looked at
        elif isinstance(operand, Tensor):
            fits = operand.dim() == 0 or (not is_flat and is_broadcast(operand, shape))
        else:
            fits = _is_number(operand)
        if not fits:
            return function(*_computed(operands))
    parts = tuple(operand.blocks if isinstance(operand, LazyScores) else operand for operand in operands)
    return LazyScores(_Cell(Applied(function, parts, lazy[0].blocks)), is_flat)


def _computed(values: Any) -> Any:
    """``values``, and what lists, tuples and dicts of them hold, with lazy scores computed."""
    if isinstance(values, LazyScores):
        return values.dense()
    if isinstance(values, dict):
        return {key: _computed(value) for key, value in values.items()}
    return type(values)(map(_computed, values)) if type(values) in (list, tuple) else values


def _computing(name: str) -> Callable[..., Any]:
    def operator(scores: LazyScores, *others: Any) -> Any:
        return getattr(scores.dense(), name)(*_computed(others))

    return operator


for _name in COMPUTED:
    setattr(LazyScores, _name, _computing(_name))

"""Scores of a step's candidates that are multiplied only if something else than the loss looks at them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, is_grad_enabled, set_grad_enabled
from torch._C import DisableTorchFunctionSubclass
from torch.utils._pytree import tree_map_only

from recbole_pixel.unmade_products import UnmadeProducts

KNOWN_UNSEEN: set[Callable[..., Any]] = {
    Tensor.size, Tensor.dim, Tensor.numel, Tensor.__len__,
    Tensor.shape.__get__, Tensor.ndim.__get__, Tensor.dtype.__get__, Tensor.device.__get__,  # type: ignore[attr-defined]
}  # fmt: skip
"""What can be said of scores without computing them."""


class PendingScores(Tensor):
    """``states @ table.T``, (T, U), of which a loss may take the factors; to all else, the product.

    Attributes:
        states: (T, D).
        table: (U, D).
        product: what something looked at, and may have changed in place; None before.
    """

    states: Tensor
    table: Tensor
    product: Tensor | None
    learns: bool

    @staticmethod
    def __new__(cls, states: Tensor, table: Tensor) -> PendingScores:
        """The two factors; nothing is multiplied."""
        size = (len(states), len(table))
        made: PendingScores = Tensor._make_wrapper_subclass(cls, size, dtype=states.dtype, device=states.device)
        made.states, made.table, made.product, made.learns = states, table, None, is_grad_enabled()
        return made

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in KNOWN_UNSEEN:
            with DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))
        computed = tree_map_only(cls, _product_of, (tuple(args), kwargs or {}))
        return func(*computed[0], **computed[1])

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Asked for by torch of a tensor without memory; whatever is called goes through ``__torch_function__``."""
        raise NotImplementedError(f"{func} was called on scores that are not computed")


def _product_of(scores: PendingScores) -> Tensor:
    if scores.product is None:
        with set_grad_enabled(scores.learns):
            scores.product = scores.states @ scores.table.T
    return scores.product


class KeepPending(UnmadeProducts):
    """Within it, a product of two matrices with a column for each candidate is left to whoever looks at it.

    RecBole's losses need no more than a part of it at a time.
    """

    def takes(self, rows: Any, columns: Any) -> bool:
        """Whether both are matrices, no scores that are pending themselves, and ``columns`` the candidates'."""
        both_matrices = all(type(factor) is not PendingScores and factor.dim() == 2 for factor in (rows, columns))
        return both_matrices and columns.shape[1] == self.n_columns

    def instead(self, rows: Tensor, columns: Tensor) -> PendingScores:
        """The two factors."""
        return PendingScores(rows, columns.T)

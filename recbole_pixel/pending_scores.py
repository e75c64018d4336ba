"""Scores of a step's candidates that are multiplied only if something else than the loss looks at them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, is_grad_enabled, matmul, mm, set_grad_enabled
from torch._C import DisableTorchFunctionSubclass
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

PRODUCTS: set[Callable[..., Any]] = {matmul, mm, Tensor.matmul, Tensor.mm, Tensor.__matmul__}
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


class KeepPending(TorchFunctionMode):
    """Within it, a product of two matrices of ``n_candidates`` columns is left to whoever looks at it.

    RecBole's classes multiply states with all items and hand the product to ``loss_fct``, which needs no more than a
    part of it at a time.

    Args:
        n_candidates: U.
    """

    def __init__(self, n_candidates: int) -> None:
        super().__init__()
        self.n_candidates = n_candidates

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in PRODUCTS and not kwargs and self._are_scores(*args):
            return PendingScores(args[0], args[1].T)
        return func(*args, **(kwargs or {}))

    def _are_scores(self, states: Any, columns: Any) -> bool:
        both_matrices = all(type(factor) is not PendingScores and factor.dim() == 2 for factor in (states, columns))
        return both_matrices and columns.shape[1] == self.n_candidates

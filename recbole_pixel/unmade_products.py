"""Products of two matrices that are not made when a model asks for them, since what it wants of them needs less."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, matmul, mm
from torch.overrides import TorchFunctionMode

PRODUCTS: set[Callable[..., Any]] = {matmul, mm, Tensor.matmul, Tensor.mm, Tensor.__matmul__}


class UnmadeProducts(TorchFunctionMode):
    """Within it, the products that a subclass :meth:`takes` are what it gives :meth:`instead`.

    RecBole's classes multiply vectors of rows with those of all items themselves, and hand the product on.

    Args:
        n_columns: of the products, one for each item.
    """

    def __init__(self, n_columns: int) -> None:
        super().__init__()
        self.n_columns = n_columns

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in PRODUCTS and not kwargs and self.takes(*args):
            return self.instead(*args)
        return func(*args, **(kwargs or {}))

    def takes(self, rows: Any, columns: Any) -> bool:
        """Whether ``rows @ columns`` is such a product."""
        raise NotImplementedError

    def instead(self, rows: Tensor, columns: Tensor) -> Any:
        """What stands for ``rows @ columns``, (B, D) and (D, ``n_columns``)."""
        raise NotImplementedError

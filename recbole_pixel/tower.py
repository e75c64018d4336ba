"""What item towers share, whatever their rows are computed from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from recbole_pixel.catalogue import StepCatalogue


class Tower(nn.Module):
    """What towers share: the catalogue of a step, and rows that belong to no item.

    Such rows, the mask of a masked language model for one, are looked up by the ids behind the last item's, are learnt
    in any tower, and are never ranked.
    """

    num_embeddings: int
    learnt: nn.Embedding | None
    catalogue: StepCatalogue | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_module("learnt", None)

    @contextmanager
    def step(
        self,
        ids: Tensor | None,
        arrays: Tensor | None = None,
        log_q: Tensor | None = None,
        is_candidate: Tensor | None = None,
    ) -> Iterator[StepCatalogue | None]:
        """Computes the vectors of a step's items, once; within it, look-ups by id read them.

        Args:
            ids: sorted distinct ids, the first of them 0, shape (U,); None for the whole catalogue.
            arrays: inputs of an encoder without the padding's, shape (U - 1, ...), or of this rank's share of
                the items where ranks share them; fetched here when None.
            log_q: see :class:`~recbole_pixel.catalogue.StepCatalogue`; shape (U,).
            is_candidate: likewise.
        """
        self.catalogue = self._catalogue_of(ids, arrays, log_q, is_candidate)
        try:
            yield self.catalogue
        finally:
            self.catalogue = None

    def _catalogue_of(
        self, ids: Tensor | None, arrays: Tensor | None, log_q: Tensor | None, is_candidate: Tensor | None
    ) -> StepCatalogue | None:
        raise NotImplementedError

    def add_rows(self, rows: Tensor) -> None:
        """Gives the ids from ``num_embeddings`` on vectors that start as ``rows``, shape (R, D)."""
        self.learnt = nn.Embedding(rows.shape[0], rows.shape[1], _weight=rows.detach().clone())

    def with_extra(self, loss: Any) -> Any:
        """``loss`` of a step, and what the tower is to learn beside it: nothing."""
        return loss

    def _look_up(self, ids: Tensor, items: Callable[[Tensor], Tensor]) -> Tensor:
        """Vectors of ``ids`` (...): items' by ``items``, learnt rows for those behind; shape (..., D)."""
        if self.learnt is None:
            return items(ids)
        is_learnt = ids >= self.num_embeddings
        rows = self.learnt((ids - self.num_embeddings).clamp(min=0))
        return torch.where(is_learnt[..., None], rows, items(ids.masked_fill(is_learnt, 0)))


class Shared:
    """Keeps open files and threads out of a module's state: shared, not copied, by a deepcopy."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __deepcopy__(self, memo: dict[int, object]) -> Shared:
        return self

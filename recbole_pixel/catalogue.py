"""The catalogue of one training step.

During a step the catalogue shrinks to the items that the batch needs. Ids stay RecBole's everywhere; a *position* is an
index into the rows of :class:`StepCatalogue`, and means nothing outside of the step.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


class StepCatalogue:
    """The vectors of a step's items, found by id.

    Args:
        ids: sorted distinct item ids of the step, shape (U,); the first is 0, the padding.
        vectors: shape (U, D); row 0 is the padding's.
        log_q: logarithm of the chance that an item is in a step's catalogue, shape (U,), or None where every item is.
        is_candidate: which rows may be ranked, bool of shape (U,), or None for all.
    """

    def __init__(
        self, ids: Tensor, vectors: Tensor, log_q: Tensor | None = None, is_candidate: Tensor | None = None
    ) -> None:
        self.ids, self.vectors, self.log_q, self.is_candidate = ids, vectors, log_q, is_candidate

    def positions(self, ids: Tensor) -> Tensor:
        """Positions of ``ids``, any shape.

        Raises:
            LookupError: an id is not in this catalogue (on an accelerator, a device-side assertion).
        """
        positions = torch.searchsorted(self.ids, ids.contiguous()).clamp_(max=len(self.ids) - 1)
        found = (self.ids[positions] == ids).all()
        if ids.is_cuda:
            torch._assert_async(found)
        elif not found:
            missing = ids[self.ids[positions] != ids].unique().tolist()
            raise LookupError(f"items {missing[:5]} are not among the {len(self.ids) - 1} of this step's catalogue")
        return positions

    def lookup(self, ids: Tensor) -> Tensor:
        """Vectors of ``ids``: any shape (...) to (..., D)."""
        return F.embedding(self.positions(ids), self.vectors)

"""PixelFM.

Rendle: "Factorization Machines", ICDM 2010, with a history as features, as in Cheng et al.: "An Image Dataset for
Benchmarking Recommender Systems with Raw Pixels" (PixelRec), SDM 2024: a user is the sum of the vectors of what they
consumed, the score its dot product with the item's. RecBole's FM, a click-through model, stays available by its name.
Differs from PixelRec's code: it trains on all rows of a batch, and on no item after its target.
"""

from __future__ import annotations

from torch import Tensor

from recbole_pixel.model.history_pooling import HistoryPooling
from recbole_pixel.model.pixel_mixin import PixelMixin


class PixelFM(PixelMixin, HistoryPooling):
    """Factorization machine of a history and an item, whose items are pictures (or IDs)."""

    row_kinds = ("sequence", "prefix")

    def pool(self, sums: Tensor, counts: Tensor) -> Tensor:
        """The sums themselves, (B, L, D)."""
        return sums

"""PixelGRU4Rec.

Hidasi et al.: "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016, as improved by Tan et al.,
DLRS 2016; with an image encoder for items as in Cheng et al.: "An Image Dataset for Benchmarking Recommender Systems
with Raw Pixels" (PixelRec), SDM 2024. Differs from RecBole's class: nothing but the item tower.
"""

from __future__ import annotations

from recbole.model.sequential_recommender.gru4rec import GRU4Rec

from recbole_pixel.model.pixel_mixin import PixelMixin


class PixelGRU4Rec(PixelMixin, GRU4Rec):
    """GRU4Rec whose items are pictures (or, with ``item_tower: id``, its ID twin)."""

    row_kinds = ("sequence", "prefix")

"""PixelSASRec.

Kang and McAuley: "Self-Attentive Sequential Recommendation", ICDM 2018; with an image encoder for items as in Cheng et
al.: "An Image Dataset for Benchmarking Recommender Systems with Raw Pixels" (PixelRec), SDM 2024. Differs from
RecBole's class: nothing but the item tower.
"""

from __future__ import annotations

from recbole.model.sequential_recommender.sasrec import SASRec

from recbole_pixel.model.pixel_mixin import PixelMixin


class PixelSASRec(PixelMixin, SASRec):
    """SASRec whose items are pictures (or, with ``item_tower: id``, its ID twin)."""

    row_kinds = ("sequence", "prefix")

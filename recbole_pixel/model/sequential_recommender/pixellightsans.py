"""PixelLightSANs.

Fan et al.: "Lighter and Better: Low-Rank Decomposed Self-Attention Networks for Next-Item Recommendation", SIGIR 2021;
with an image encoder for items as in Cheng et al.: "An Image Dataset for Benchmarking Recommender Systems with Raw
Pixels" (PixelRec), SDM 2024. Differs from RecBole's class: it never reads padding. RecBole's has no padding mask, and
three softmaxes over positions that count padded ones; here, rows of a length run together, cut to that length.
"""

from __future__ import annotations

from recbole.model.sequential_recommender.lightsans import LightSANs
from torch import Tensor

from recbole_pixel.model.by_length import by_length
from recbole_pixel.model.pixel_mixin import PixelMixin


class PixelLightSANs(PixelMixin, LightSANs):
    """LightSANs whose items are pictures (or, with ``item_tower: id``, its ID twin).

    One row per target: each position attends to all others.
    """

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """Hidden states at the last item of each row: (B, L) to (B, D)."""
        return by_length(super().forward, item_seq, item_seq_len)

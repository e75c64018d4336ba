"""PixelSRGNN.

Wu et al.: "Session-based Recommendation with Graph Neural Networks", AAAI 2019; with an image encoder for items as in
Cheng et al.: "An Image Dataset for Benchmarking Recommender Systems with Raw Pixels" (PixelRec), SDM 2024. Differs from
RecBole's class: nothing but the item tower; the graphs are RecBole's, built for all rows at once instead of in a loop.
"""

from __future__ import annotations

from recbole.model.sequential_recommender.srgnn import SRGNN
from torch import Tensor

from recbole_pixel.model.pixel_mixin import PixelMixin
from recbole_pixel.model.session_graph import session_graphs


class PixelSRGNN(PixelMixin, SRGNN):
    """SRGNN whose items are pictures (or, with ``item_tower: id``, its ID twin).

    One row per target: the state at the end of a session attends to all of its graph.
    """

    def _get_slice(self, item_seq: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return session_graphs(item_seq)

"""PixelDSSM.

Huang et al.: "Learning Deep Structured Semantic Models for Web Search using Clickthrough Data", CIKM 2013, with a
history as the query, as in Cheng et al.: "An Image Dataset for Benchmarking Recommender Systems with Raw Pixels"
(PixelRec), SDM 2024: a user is the mean of the vectors of what they consumed, the score its dot product with the
item's. RecBole's DSSM, a click-through model, stays available by its name. Differs from PixelRec's code: it trains on
all rows of a batch, and on no item after its target.
"""

from __future__ import annotations

from typing import Any

from recbole.model.init import xavier_normal_initialization
from recbole.model.layers import MLPLayers
from torch import Tensor

from recbole_pixel.model.history_pooling import HistoryPooling
from recbole_pixel.model.pixel_mixin import PixelMixin
from recbole_pixel.model.setting_ranges import check_shares


class PixelDSSM(PixelMixin, HistoryPooling):
    """Two towers, one of the mean of a history, one of an item, whose items are pictures (or IDs).

    ``mlp_hidden_size`` lists the widths of the layers of a tanh network on each side; none by default.
    """

    row_kinds = ("sequence", "prefix")

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        sizes = [self.embedding_size, *config["mlp_hidden_size"]]
        self.user_mlp = MLPLayers(sizes, config["dropout_prob"], activation="tanh")
        self.item_mlp = MLPLayers(sizes, config["dropout_prob"], activation="tanh")
        self.user_mlp.apply(xavier_normal_initialization)
        self.item_mlp.apply(xavier_normal_initialization)

    @classmethod
    def _check(cls, config: Any) -> None:
        super()._check(config)
        check_shares(config, ["dropout_prob"])
        widths = config["mlp_hidden_size"]
        if not isinstance(widths, list) or any(not isinstance(width, int) or width < 1 for width in widths):
            raise ValueError(f"mlp_hidden_size is {widths}; expected a list of widths, each 1 or more, such as [64]")

    def pool(self, sums: Tensor, counts: Tensor) -> Tensor:
        """Means, through the users' network: (B, L, D)."""
        return self.user_mlp(sums / counts)

    def ranked(self, vectors: Tensor) -> Tensor:
        """Items' vectors (..., D) through the items' network."""
        return self.item_mlp(vectors)

"""PixelLightGCN.

He et al.: "LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation", SIGIR 2020; with features
for items as in Cheng et al.: "An Image Dataset for Benchmarking Recommender Systems with Raw Pixels" (PixelRec), SDM
2024. Differs from RecBole's LightGCN: nothing but the item tower.
"""

from __future__ import annotations

from recbole.model.general_recommender.lightgcn import LightGCN

from recbole_pixel.model.pair_mixin import WholeCatalogueMixin


class PixelLightGCN(WholeCatalogueMixin, LightGCN):
    """LightGCN whose items are stored features (or, with ``item_tower: id``, its ID twin)."""

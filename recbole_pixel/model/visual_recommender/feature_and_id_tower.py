"""An item tower that knows of an item what it looks like and which one it is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recbole_pixel.item_tower import ItemTower


class FeatureAndIDTower(ItemTower):
    """``Linear([f_i, e_i])``, where ``e_i`` is learnt for each item.

    ID vectors start at zero and the projection does not: an item that is never trained on has no ID, and is what it
    looks like.

    Args:
        id_size: width of ``e_i``.
        tower: arguments of :class:`~recbole_pixel.item_tower.ItemTower`; ``size`` must be given.
    """

    def __init__(self, id_size: int, *tower: Any, **options: Any) -> None:
        super().__init__(*tower, **options)
        features: Any = self.projection
        deviation = features.weight.detach().std()
        self.projection = nn.Linear(features.in_features + id_size, features.out_features)
        nn.init.normal_(self.projection.weight, std=float(deviation))
        nn.init.zeros_(self.projection.bias)
        self.ids = nn.Embedding(self.num_embeddings, id_size)
        nn.init.zeros_(self.ids.weight)

    def encode_items(self, ids: Tensor, arrays: Tensor) -> Tensor:
        """Vectors of the items ``ids`` (U,), from their ``arrays`` and their IDs: (U, D)."""
        features = self.standardising(self.features(arrays))
        return self.activation(self.projection(torch.cat([features.float(), self.ids(ids)], dim=1)))

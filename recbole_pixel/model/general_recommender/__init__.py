"""General pixel models: they know a user by an id, not by a history."""

from __future__ import annotations

from recbole_pixel.model.general_recommender.pixellightgcn import PixelLightGCN
from recbole_pixel.model.general_recommender.pixelmf import PixelMF

__all__ = ["PixelLightGCN", "PixelMF"]

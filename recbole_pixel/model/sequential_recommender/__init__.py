"""Sequential pixel models."""

from __future__ import annotations

from recbole_pixel.model.sequential_recommender.pixelsasrec import PixelSASRec

__all__ = ["PixelSASRec"]

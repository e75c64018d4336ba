"""From arrays to vectors: encoders, their weights and how much of them learns."""

from __future__ import annotations

from recbole_pixel.encoder.features import FeatureEncoder
from recbole_pixel.encoder.image import ImageEncoder
from recbole_pixel.encoder.tuning import Tuning

__all__ = ["FeatureEncoder", "ImageEncoder", "Tuning"]

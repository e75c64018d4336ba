"""Sequential pixel models."""

from __future__ import annotations

from recbole_pixel.model.sequential_recommender.pixelbert4rec import PixelBERT4Rec
from recbole_pixel.model.sequential_recommender.pixeldssm import PixelDSSM
from recbole_pixel.model.sequential_recommender.pixelfm import PixelFM
from recbole_pixel.model.sequential_recommender.pixelgru4rec import PixelGRU4Rec
from recbole_pixel.model.sequential_recommender.pixellightsans import PixelLightSANs
from recbole_pixel.model.sequential_recommender.pixelnextitnet import PixelNextItNet
from recbole_pixel.model.sequential_recommender.pixelsasrec import PixelSASRec
from recbole_pixel.model.sequential_recommender.pixelsrgnn import PixelSRGNN

__all__ = [
    "PixelBERT4Rec",
    "PixelDSSM",
    "PixelFM",
    "PixelGRU4Rec",
    "PixelLightSANs",
    "PixelNextItNet",
    "PixelSASRec",
    "PixelSRGNN",
]

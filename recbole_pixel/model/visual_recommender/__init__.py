"""Models of frozen features (PixelRec's ViNet), and DVBPR, which trains its network."""

from __future__ import annotations

from recbole_pixel.model.visual_recommender.acf import ACF
from recbole_pixel.model.visual_recommender.curatornet import CuratorNet
from recbole_pixel.model.visual_recommender.dvbpr import DVBPR
from recbole_pixel.model.visual_recommender.vbpr import VBPR
from recbole_pixel.model.visual_recommender.visrank import VisRank
from recbole_pixel.model.visual_recommender.visualsasrec import VisualSASRec

__all__ = ["ACF", "DVBPR", "VBPR", "CuratorNet", "VisRank", "VisualSASRec"]

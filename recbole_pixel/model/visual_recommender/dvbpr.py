"""DVBPR.

Kang et al.: "Visually-Aware Fashion Recommendation and Design with Generative Image Models", ICDM 2017; the recommender
of it, without the generative part. The visual factors come from a network that is trained from pixels. Differs from the
paper, whose score is ``theta_u . CNN(x_i)`` alone: as in PixelRec, and in VBPR, factors by ID stand beside it,
``score(u, i) = gamma_u . gamma_i + theta_u . CNN(x_i)``. Differs from PixelRec's version, which cannot be run (it is
wired to a dataset that gives no item ids): every distinct picture of a batch goes through the network once; weights
start so that activations keep their scale (He et al., ICCV 2015), factors start small, where PixelRec draws all factors
from U(0, 1), so that every user starts out liking the same items; the last layer has neither ReLU nor dropout, so that
visual factors may be negative; convolutions are padded with zeros, and CNN-F's layers are 4096 wide, not 512
(``cnn: cnn_f_512``).
"""

from __future__ import annotations

from typing import Any

from recbole_pixel.model.visual_recommender.vbpr import VBPR


class DVBPR(VBPR):
    """VBPR that learns to see: a network from scratch, its last fully connected layer the tower's projection."""

    towers = ("image",)

    def __init__(self, config: Any, dataset: Any) -> None:
        config["encoder"], config["encoder_weights"], config["tune"] = config["cnn"], "random", "full"
        super().__init__(config, dataset)

"""PixelMF.

Rendle et al.: "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009; with an image encoder for items as
in Cheng et al.: "An Image Dataset for Benchmarking Recommender Systems with Raw Pixels" (PixelRec), SDM 2024. Differs
from RecBole's BPR: nothing but the item tower; it can be trained by CE and BCE, too.
"""

from __future__ import annotations

from typing import Any

from recbole.model.general_recommender.bpr import BPR
from torch import Tensor

from recbole_pixel.model.pair_mixin import PairMixin


class PixelMF(PairMixin, BPR):
    """Matrix factorisation whose items are pictures (or, with ``item_tower: id``, its ID twin)."""

    loss_types = ("BPR", "CE", "BCE")

    def user_output(self, interaction: Any) -> Tensor:
        """Rows of the user table, (B, D)."""
        return self.get_user_embedding(interaction[self.USER_ID])

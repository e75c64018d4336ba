"""VBPR.

He and McAuley: "VBPR: Visual Bayesian Personalized Ranking from Implicit Feedback", AAAI 2016. Differs from PixelRec's
version: the paper's bias of each item is there (``item_bias: False`` does without, as PixelRec), ID and visual factors
have widths of their own, and features are centred and scaled first, which no ranking of the same weights would notice.
The paper's user bias and offset are left out: they do not change the order of a user's items. ``item_tower: image``
trains the encoder, too.
"""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.general_recommender.bpr import BPR
from recbole.model.init import xavier_normal_initialization
from torch import Tensor, nn

from recbole_pixel.model.pair_mixin import PairMixin
from recbole_pixel.model.visual_recommender.logistic_bpr import LogisticBPR


class VisualFactors(BPR):
    """RecBole's BPR, its item table beside a second one of visual factors: the one that becomes an item tower.

    ``score(u, i) = item_bias_i + gamma_u . gamma_i + theta_u . visual_i + visual_bias_i``, where a row of the second
    table is ``[visual_i, visual_bias_i]``.
    """

    item_embedding: Any

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.visual_size = config["visual_embedding_size"] or self.embedding_size
        self.item_factors = self.item_embedding
        self.visual_preference = nn.Embedding(self.n_users, self.visual_size)
        self.item_embedding = nn.Embedding(self.n_items, self.visual_size + bool(config["visual_bias"]))
        self.item_bias = nn.Parameter(torch.zeros(self.n_items)) if config["item_bias"] else None
        self.loss = LogisticBPR()
        self.apply(xavier_normal_initialization)

    def get_user_embedding(self, user: Tensor) -> Tensor:
        """``[gamma_u, theta_u, 1]``: ids (B,) to (B, D)."""
        return torch.cat([self.user_embedding(user), self.visual_preference(user), torch.ones_like(user)[:, None]], 1)

    def get_item_embedding(self, item: Tensor) -> Tensor:
        """``[gamma_i, visual_i, biases]``: ids (B,) to (B, D), whose product with a user's is the score."""
        visual = self.item_embedding(item)
        bias = self._bias(visual, item)[:, None]
        return torch.cat([self.item_factors(item), visual[:, : self.visual_size], bias], 1)

    def _bias(self, visual: Tensor, item: Tensor | slice) -> Tensor:
        """What items score with every user; from rows of the second table, (U, visual_size or one more), to (U,)."""
        bias = visual[:, self.visual_size :].sum(1)  # of one column or none
        return bias if self.item_bias is None else bias + self.item_bias[item]

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items, (B * N,)."""
        user, visual = interaction[self.USER_ID], self.item_embedding.weight
        scores = self.user_embedding(user) @ self.item_factors.weight.T
        scores = scores + self.visual_preference(user) @ visual[:, : self.visual_size].T
        return (scores + self._bias(visual, slice(None))).view(-1)


class VBPR(PairMixin, VisualFactors):
    """Matrix factorisation with visual factors; ``[E; beta'] f_i`` is one projection without bias.

    For an item that was never trained on, its ID factors are noise and its bias 0; only what it looks like speaks.
    """

    towers: tuple[str, ...] = ("features", "image")
    id_parameters = ("item_factors", "item_bias")

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        tower: Any = self.item_embedding
        tower.projection.register_parameter("bias", None)
        tower.activation = nn.Identity()

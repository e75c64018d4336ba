"""Base of models that take a user for the sum or the mean of what they consumed."""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.model.init import xavier_normal_initialization
from recbole.model.loss import BPRLoss
from torch import Tensor, nn


class HistoryPooling(SequentialRecommender):
    """A state for each position, pooled from the items up to it; the score is its dot product with an item's vector.

    Written as RecBole's sequential classes are, so that ``PixelMixin`` goes before it as before them.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.embedding_size, self.loss_type = config["embedding_size"], config["loss_type"]
        self.item_embedding = nn.Embedding(self.n_items, self.embedding_size, padding_idx=0)
        self.loss_fct = nn.CrossEntropyLoss() if self.loss_type == "CE" else BPRLoss()
        self.apply(xavier_normal_initialization)

    def pool(self, sums: Tensor, counts: Tensor) -> Tensor:
        """States (B, L, D) from the sums of the vectors up to each position, (B, L, D), and their numbers, (L, 1)."""
        raise NotImplementedError

    def ranked(self, vectors: Tensor) -> Tensor:
        """What states are multiplied with, from items' ``vectors`` (..., D)."""
        return vectors

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """States at the last item of each row: ids (B, L), padded on the right, to (B, D)."""
        vectors = self.item_embedding(item_seq) * (item_seq > 0)[..., None]
        counts = torch.arange(1, item_seq.shape[1] + 1, device=item_seq.device)[:, None]
        return self.gather_indexes(self.pool(vectors.cumsum(1), counts), item_seq_len - 1)

    def calculate_loss(self, interaction: Any) -> Tensor:
        """The loss of rows of one target."""
        states = self._states(interaction)
        if self.loss_type == "CE":
            return self.loss_fct(states @ self.ranked(self.item_embedding.weight).T, interaction[self.POS_ITEM_ID])
        positive, negative = (self._scores(states, interaction[field]) for field in (self.ITEM_ID, self.NEG_ITEM_ID))
        return self.loss_fct(positive, negative)

    def predict(self, interaction: Any) -> Tensor:
        """Scores of the rows' items, (B,)."""
        return self._scores(self._states(interaction), interaction[self.ITEM_ID])

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items, (B, N)."""
        return self._states(interaction) @ self.ranked(self.item_embedding.weight).T

    def _states(self, interaction: Any) -> Tensor:
        return self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])

    def _scores(self, states: Tensor, ids: Tensor) -> Tensor:
        return (states * self.ranked(self.item_embedding(ids))).sum(-1)

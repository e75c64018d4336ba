"""CuratorNet.

Messina et al.: "CuratorNet: Visually-aware Recommendation of Art Images", ComplexRec at RecSys 2020. Differs from
PixelRec's version, which cannot be run (its dataset does not exist): padding is not pooled, a profile holds only items
before its target, every position of a row has a loss (``train_rows: sequence``), and features are centred and scaled
first. Differs from the paper: negatives are uniform instead of chosen by likeness, and a profile holds the newest
``MAX_ITEM_LIST_LENGTH`` items.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from recbole_pixel.model.history_pooling import HistoryPooling
from recbole_pixel.model.pixel_mixin import PixelMixin
from recbole_pixel.model.visual_recommender.logistic_bpr import LogisticBPR


class PooledProfile(HistoryPooling):
    """A user is three layers upon the maximum and the mean of what they consumed."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        size, hidden = self.embedding_size, config["hidden_size"]
        self.profile = _selu_layers(2 * size, hidden, hidden, size)
        if self.loss_type == "BPR":
            self.loss_fct = LogisticBPR()

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """Profiles up to the last item of each row: ids (B, L), padded on the right, to (B, D)."""
        vectors = self.item_embedding(item_seq)
        counts = torch.arange(1, item_seq.shape[1] + 1, device=item_seq.device)[:, None]
        pooled = torch.cat([vectors.cummax(1).values, vectors.cumsum(1) / counts], dim=-1)
        return self.profile(self.gather_indexes(pooled, item_seq_len - 1))


class CuratorNet(PixelMixin, PooledProfile):
    """Items through two SELU layers, of which profiles and scores are made; it knows of an item only what it shows."""

    towers = ("features", "image")
    row_kinds = ("sequence", "prefix")
    loss_types = ("BPR", "CE", "BCE")

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        tower: Any = self.item_embedding
        tower.projection = _selu_layers(tower.encoder.n_features, self.embedding_size, self.embedding_size)
        tower.activation = nn.Identity()


def _selu_layers(*sizes: int) -> nn.Sequential:
    """Linear layers with SELU behind each, which keep zero mean and unit variance (Klambauer et al., NeurIPS 2017)."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        linear = nn.Linear(n_in, n_out)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="linear")
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.SELU()]
    return nn.Sequential(*layers)

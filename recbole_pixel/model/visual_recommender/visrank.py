"""VisRank.

Items that look like what the user consumed, a baseline of Kang et al. (DVBPR, ICDM 2017) and Messina et al.
(CuratorNet, 2020): an item's score is the mean of the k highest cosine similarities between its features and those of
the history. With k = 1 it is PixelRec's "maximum". Nothing is trained. Differs from PixelRec's version: it ranks users
in batches, in memory that depends on a setting instead of on users times items times features, and it looks at the
whole history instead of the newest 50 items.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_pixel.data.history import HISTORY_LENGTH, HISTORY_START
from recbole_pixel.item_tower import ItemTower
from recbole_pixel.model.build_tower import build_item_tower
from recbole_pixel.model.setting_ranges import check_counts, check_missing, check_own_vectors


class VisRank(SequentialRecommender):
    """Ranks by likeness to the history; it has no parameters."""

    towers = ("features",)
    row_kinds = ("prefix",)
    loss_types = ("BPR",)

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        if config["item_tower"] not in self.towers:
            raise ValueError(
                f"item_tower is {config['item_tower']!r}; VisRank ranks stored features: set it to features"
            )
        check_missing(config, self.towers, "VisRank")
        check_counts(config, ["similarities_at_a_time"])
        k = config["average_top_k"]
        if k != "all" and k < 1:
            raise ValueError(f"average_top_k is {k}; expected a number from 1 on, or all")
        self.n_highest = None if k == "all" else int(k)
        self.n_numbers = config["similarities_at_a_time"]
        self.histories = dataset.histories
        check_own_vectors(config, "VisRank", "it learns nothing")
        tower: Any = build_item_tower(config, dataset, nn.Embedding(self.n_items, 1, device="meta"))
        centres = config["standardise_features"]
        self.item_embedding = ItemTower(tower.encoder, tower.inputs, self.n_items, None, standardise=centres)
        self.item_embedding.activation = UnitLength()
        self.item_embedding.fit_standardising()

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items, (B, N)."""
        rows, items = self._consumed(interaction)
        return mean_of_highest(
            self.item_embedding.weight, rows, items, len(interaction), self.n_highest, self.n_numbers
        )

    def predict(self, interaction: Any) -> Tensor:
        """Scores of the items of ``interaction``, (B,)."""
        return self.full_sort_predict(interaction).gather(1, interaction[self.ITEM_ID][:, None]).squeeze(1)

    def _consumed(self, interaction: Any) -> tuple[Tensor, Tensor]:
        """Rows and items of all that was consumed before, (E,) each; of the window alone where nothing says more."""
        if HISTORY_START in interaction:
            rows, items = self.histories.consumed(interaction[HISTORY_START], interaction[HISTORY_LENGTH])
            device = interaction[HISTORY_START].device
            return rows.to(device), items.to(device)
        item_seq = interaction[self.ITEM_SEQ]
        rows, places = (item_seq > 0).nonzero(as_tuple=True)
        return rows, item_seq[rows, places]


class UnitLength(nn.Module):
    """Scales vectors to length 1, so that products of them are cosines."""

    def forward(self, vectors: Tensor) -> Tensor:
        """(..., F) to (..., F), in float32."""
        return F.normalize(vectors.float(), dim=-1)


def mean_of_highest(
    vectors: Tensor, rows: Tensor, items: Tensor, n_rows: int, n_highest: int | None, n_numbers: int
) -> Tensor:
    """The mean, for each row and item, of the highest products with the row's items.

    Args:
        vectors: of all items, (N, F).
        rows: row of each consumed item, sorted, (E,).
        items: the consumed items, (E,).
        n_rows: B.
        n_highest: how many are averaged; all where a row has fewer, or None.
        n_numbers: how many a tensor may hold, but for the result and for a row that alone asks for more.

    Returns:
        Shape (B, N); 0 in a row without items.
    """
    n_items, n_features = vectors.shape
    scores = vectors.new_zeros(n_rows, n_items)
    length = torch.bincount(rows, minlength=n_rows)
    start = length.cumsum(0) - length
    for group in _groups(length, n_numbers // max(n_features, min(n_items, 256))):
        place = torch.arange(int(length[group].max()), device=rows.device)
        inside = place < length[group][:, None]
        own = items[torch.where(inside, start[group][:, None] + place, start[group][:, None])]
        if n_highest is None:  # the mean of products is the product with the mean
            weights = inside / length[group][:, None]
            scores[group] = (weights[..., None] * vectors[own]).sum(1) @ vectors.T
            continue
        distinct, where = own.unique(return_inverse=True)
        consumed, width = vectors[distinct], max(1, n_numbers // own.numel())
        for first in range(0, n_items, width):
            products = (consumed @ vectors[first : first + width].T)[where]
            scores[group, first : first + width] = _mean_of_highest(products, inside, n_highest)
    return scores


def _mean_of_highest(products: Tensor, inside: Tensor, n_highest: int) -> Tensor:
    """Mean over the highest of the places that are ``inside``, (G, L): ``products`` (G, L, W) to (G, W)."""
    products.masked_fill_(~inside[..., None], -torch.inf)
    if n_highest == 1:
        return products.amax(1)
    highest = products.topk(min(n_highest, products.shape[1]), dim=1).values
    n_own = inside.sum(1, keepdim=True).clamp(max=highest.shape[1])
    return highest.masked_fill(highest == -torch.inf, 0).sum(1) / n_own


def _groups(length: Tensor, at_most: int) -> Iterator[Tensor]:
    """Rows with items, (G,), of like length together; G times the longest is at most ``at_most`` wherever G > 1."""
    order = length.argsort(descending=True)
    order = order[length[order] > 0]
    first = 0
    while first < len(order):
        n_rows = max(1, at_most // int(length[order[first]]))
        yield order[first : first + n_rows]
        first += n_rows

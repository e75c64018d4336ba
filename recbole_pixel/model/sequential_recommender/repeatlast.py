"""RepeatLast.

The baseline of who takes again what they took last: hard to beat where items are repeated (music, shops, short videos),
and worth a look wherever a history is not masked. RecBole has no such model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import Tensor

from recbole_pixel.data.history import HISTORY_LENGTH, HISTORY_START


class RepeatLast(SequentialRecommender):
    """Ranks the user's most recent items first, the latest at the top, and all others by popularity behind them.

    It has no parameters. Its YAML switches the mask of histories off. Under ``mask_history: True`` it ranks by
    popularity alone: of a history the mask leaves in nothing but a target that was consumed before, and recency would
    give it away.
    """

    input_type = InputType.POINTWISE
    popularity: Tensor

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        counts = torch.from_numpy(training_counts(dataset)).float()
        self.register_buffer("popularity", counts / (counts.max() + 1))  # below 1, the score of the oldest item
        self.repeats = not config["mask_history"]
        if not self.repeats:
            self.logger.warning(
                "mask_history takes all that RepeatLast recommends out of the ranking: it ranks by popularity, as Pop"
            )

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items, (B, N)."""
        item_seq, length = interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]
        place = torch.arange(1, item_seq.shape[1] + 1, device=item_seq.device)
        recency = torch.where(place <= length[:, None], place, 0).to(self.popularity.dtype)
        scores = self.popularity.repeat(len(item_seq), 1)
        if not self.repeats:
            return scores
        return scores.scatter_reduce(1, item_seq, recency, "amax")

    def predict(self, interaction: Any) -> Tensor:
        """Scores of the items of ``interaction``, (B,)."""
        return self.full_sort_predict(interaction).gather(1, interaction[self.ITEM_ID][:, None]).squeeze(1)


def training_counts(dataset: Any) -> np.ndarray:
    """How often each item occurs in training, (N,): as targets of training rows, and as users' first items.

    Args:
        dataset: the training part of a sequential dataset whose rows say where their histories lie.
    """
    histories = dataset.histories
    is_first = np.diff(histories.users, prepend=-1) != 0
    targets = (dataset.inter_feat[HISTORY_START] + dataset.inter_feat[HISTORY_LENGTH]).numpy()
    items = np.concatenate([histories.items[is_first], histories.items[targets]])
    return np.bincount(items, minlength=dataset.item_num)

"""Scores as the test evaluation of a run ranked by them: consumed items masked, cold ones calibrated, or neither."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_pixel.data.cold import ColdItems
from recbole_pixel.evaluation.cold_mask import calibration_of
from recbole_pixel.serve.histories import UserHistories
from recbole_pixel.serve.known_users import KnownUsers
from recbole_pixel.serve.scoring import Scorer
from recbole_pixel.serve.tokens import Tokens


class Ranking:
    """Asks a model as :class:`~recbole_pixel.evaluation.history_mask.HistoryMaskMixin` does.

    Args:
        scorer: asks the model.
        users: what they consumed before their test targets.
        items: all of them.
        config: of the run; says what is masked, and how cold items are calibrated.
        cold: items that were held out of the run, if any were.
    """

    def __init__(self, scorer: Scorer, users: KnownUsers, items: Tokens, config: Any, cold: ColdItems | None) -> None:
        self._scorer, self._users, self._items, self._cold = scorer, users, items, cold
        asked = config["mask_history"]
        self._masks = not scorer.is_sequential if asked is None else bool(asked)  # without the key, RecBole's ways
        self._masks_cold = cold is not None and bool(asked)
        self._calibrate = None if cold is None else calibration_of(config, cold).of

    def scores(self, users: list[str], targets: Sequence[list[str]]) -> np.ndarray:
        """Scores of all items, float32 (users, items); of those that are not ranked, -inf.

        Args:
            users: tokens.
            targets: of each user; they are ranked even where they were consumed before.
        """
        ids, first = self._users.ids(users), 0
        parts = []
        for rows, histories in self._users.batches(ids):
            own = [self._items.ids(some) for some in targets[first : first + len(rows)]]
            parts.append(self._ranked(self._scorer.scores(rows, histories), rows, histories, own)[:, 1:].cpu())
            first += len(rows)
        return torch.cat(parts).numpy()

    def _ranked(self, scores: Tensor, users: np.ndarray, histories: UserHistories, targets: list[np.ndarray]) -> Tensor:
        if self._masks:
            rows, items = histories.consumed()
            scores[rows, items] = _kept(scores, rows, items, targets)
        if self._masks_cold and self._cold is not None:
            rows, items = self._cold.every.before(users, histories.length)
            scores[rows, items] = -torch.inf
        return scores if self._calibrate is None else self._calibrate(scores)


def _kept(scores: Tensor, rows: np.ndarray, items: np.ndarray, targets: list[np.ndarray]) -> Tensor:
    """-inf for each consumed item, but its score where it is a target."""
    are_targets = np.array([item in targets[row] for row, item in zip(rows, items, strict=True)], dtype=bool)
    consumed = scores[rows, items]
    return torch.where(torch.from_numpy(are_targets).to(scores.device), consumed, -torch.inf)

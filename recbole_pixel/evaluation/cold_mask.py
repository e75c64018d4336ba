"""Cold items in RecBole's evaluation: nothing is chosen by how they rank, and consumed ones are not recommended."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_pixel.data.cold import ColdItems
from recbole_pixel.data.history import HISTORY_LENGTH
from recbole_pixel.evaluation.cold_calibration import Calibrated, ColdCalibration
from recbole_pixel.evaluation.lazy_scores import LazyScores
from recbole_pixel.evaluation.score_blocks import Whole


def calibration_of(config: Any, cold: ColdItems) -> ColdCalibration:
    """What the settings ask for."""
    return ColdCalibration(torch.from_numpy(cold.is_cold), config["cold_calibration"], config["cold_offset"])


class ColdMaskMixin:
    """Put before a RecBole trainer class: takes cold items out of the ranking while it validates.

    They are no targets there, as their interactions are in no part; among the ranked, they would let early stopping,
    and a search by the validation metric, choose by what the model makes of them. In the test they are ranked,
    calibrated as the settings say, but for those that a user had consumed before the target: they are in no history, so
    that nothing else masks them.
    """

    _cold: ColdItems | None = None
    _n_warm: np.ndarray  # interactions with warm items, by user id
    _validates = False
    _calibrates = True

    def _valid_epoch(self, *args: Any, **kwargs: Any) -> Any:
        self._validates = True
        try:
            return super()._valid_epoch(*args, **kwargs)  # type: ignore[misc]
        finally:
            self._validates = False

    def evaluate(self, eval_data: Any, *args: Any, **kwargs: Any) -> Any:
        """RecBole's ``Trainer.evaluate``."""
        dataset: Any = eval_data._dataset if eval_data else None
        self._cold = getattr(dataset, "cold", None)
        if self._cold is not None and not hasattr(dataset, "item_id_list_field"):
            self._n_warm = np.bincount(dataset.histories.users, minlength=dataset.user_num)
        return super().evaluate(eval_data, *args, **kwargs)  # type: ignore[misc]

    def _full_sort_batch_eval(self, batched_data: Any) -> Any:
        interaction, scores, rows, items = super()._full_sort_batch_eval(batched_data)  # type: ignore[misc]
        if self._cold is not None and self._validates:
            scores[:, torch.from_numpy(self._cold.is_cold)] = -torch.inf
        elif self._cold is not None and self.config["mask_history"]:  # type: ignore[attr-defined]
            scores[self._consumed(self._cold, interaction, rows)] = -torch.inf
        if self._cold is not None and self._calibrates and not self._validates:
            scores = self._calibrated(scores, self._cold)
        return interaction, scores, rows, items

    def _calibrated(self, scores: Any, cold: ColdItems) -> Any:
        calibration = calibration_of(self.config, cold)  # type: ignore[attr-defined]
        if not calibration.changes:
            return scores
        blocks = scores.blocks if isinstance(scores, LazyScores) else Whole(scores)
        return LazyScores.of(Calibrated(blocks, calibration))

    def uncalibrated(self, batched_data: Any) -> tuple[Any, Tensor, Tensor]:
        """Scores of a batch of a loader that ranks all items, before calibration; rows and items of its targets.

        To be called after :meth:`evaluate` with that loader.
        """
        self._calibrates = False
        try:
            _, scores, rows, items = self._full_sort_batch_eval(batched_data)
        finally:
            self._calibrates = True
        return scores, rows, items

    def _consumed(self, cold: ColdItems, interaction: Any, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Places in the scores (B, N) of the cold items that users had consumed; ``rows`` are those of the targets."""
        users = interaction[self.config["USER_ID_FIELD"]].cpu().numpy()  # type: ignore[attr-defined]
        if HISTORY_LENGTH in interaction:
            n_warm = interaction[HISTORY_LENGTH].cpu().numpy()
        else:  # of a user, without a place in time: all that comes before the targets
            n_warm = self._n_warm[users] - np.bincount(rows.cpu().numpy(), minlength=len(users))
        places = cold.every.before(users, n_warm)
        return torch.from_numpy(places[0]), torch.from_numpy(places[1])

    def _neg_sample_batch_eval(self, batched_data: Any) -> Any:
        interaction, scores, *positives = super()._neg_sample_batch_eval(batched_data)  # type: ignore[misc]
        are_ranked = scores.dim() == 2  # AUC and the like need a score of each sampled pair
        if are_ranked and self._validates and self._cold is not None:
            scores[:, torch.from_numpy(self._cold.is_cold)] = -torch.inf
        return interaction, scores, *positives

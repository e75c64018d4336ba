"""Cold items in RecBole's evaluation: nothing is chosen by how they rank."""

from __future__ import annotations

from typing import Any

import torch
from recbole.utils import EvaluatorType
from torch import Tensor


class ColdMaskMixin:
    """Put before a RecBole trainer class: takes cold items out of the ranking while it validates.

    They are no targets there, as their interactions are in no part; among the ranked, they would let early stopping,
    and a search by the validation metric, choose by what the model makes of them. In the test they are ranked.
    """

    _is_cold: Tensor | None = None
    _validates = False

    def _valid_epoch(self, *args: Any, **kwargs: Any) -> Any:
        self._validates = True
        try:
            return super()._valid_epoch(*args, **kwargs)  # type: ignore[misc]
        finally:
            self._validates = False

    def evaluate(self, eval_data: Any, *args: Any, **kwargs: Any) -> Any:
        """RecBole's ``Trainer.evaluate``."""
        cold = getattr(eval_data._dataset, "cold", None) if eval_data else None
        self._is_cold = None if cold is None else torch.from_numpy(cold.is_cold)
        return super().evaluate(eval_data, *args, **kwargs)  # type: ignore[misc]

    def _full_sort_batch_eval(self, batched_data: Any) -> Any:
        interaction, scores, *positives = super()._full_sort_batch_eval(batched_data)  # type: ignore[misc]
        return interaction, self._of_ranked(scores), *positives

    def _neg_sample_batch_eval(self, batched_data: Any) -> Any:
        interaction, scores, *positives = super()._neg_sample_batch_eval(batched_data)  # type: ignore[misc]
        ranks = self.config["eval_type"] == EvaluatorType.RANKING  # type: ignore[attr-defined]
        return interaction, self._of_ranked(scores) if ranks else scores, *positives

    def _of_ranked(self, scores: Any) -> Any:
        """Scores (B, N), those of cold items -inf in a validation."""
        if self._validates and self._is_cold is not None:
            scores[:, self._is_cold] = -torch.inf
        return scores

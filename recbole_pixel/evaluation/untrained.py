"""The trainer of models that have nothing to learn."""

from __future__ import annotations

from typing import Any

from recbole.trainer import Trainer

from recbole_pixel.evaluation.history_mask import HistoryMaskMixin


class UntrainedTrainer(HistoryMaskMixin, Trainer):
    """Evaluates, and neither trains nor saves."""

    def _build_optimizer(self, **kwargs: Any) -> None:
        """None: torch's optimisers refuse an empty list of parameters."""

    def fit(
        self, train_data: Any, valid_data: Any = None, *args: Any, show_progress: bool = False, **kwargs: Any
    ) -> tuple[float, Any]:
        """Score and metrics on ``valid_data``; -1 and None without it, as RecBole's ``Trainer.fit``."""
        self.eval_collector.data_collect(train_data)
        return self._valid_epoch(valid_data, show_progress=show_progress) if valid_data else (-1.0, None)

    def evaluate(
        self, eval_data: Any, load_best_model: bool = True, model_file: str | None = None, show_progress: bool = False
    ) -> Any:
        """Metrics on ``eval_data``; there is no checkpoint to load."""
        return super().evaluate(eval_data, load_best_model=False, show_progress=show_progress)

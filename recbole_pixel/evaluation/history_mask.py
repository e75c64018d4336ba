"""Hides what users already consumed when models rank, or shows it: the same for every kind of model."""

from __future__ import annotations

from typing import Any

from recbole_pixel.checkpoint import read_checkpoint
from recbole_pixel.data.history import HISTORY_LENGTH, HISTORY_START
from recbole_pixel.evaluation.cold_mask import ColdMaskMixin
from recbole_pixel.evaluation.collector import BlockCollector
from recbole_pixel.evaluation.lazy_scores import LazyProducts
from recbole_pixel.foreign_pickles import TRUST, trusting


class HistoryMaskMixin(ColdMaskMixin):
    """Put before a RecBole trainer class.

    RecBole never masks for sequential models and always for general ones (recbole/data/dataloader/
    general_dataloader.py, ``collate_fn``). Here ``mask_history`` says it for both; PixelRec and the papers mask. The
    mask covers the whole history, not only what fits the model's window; the target itself is left in even where the
    user consumed it before, as RecBole does for general models. Without the key (RecBole's own ``run_recbole`` of its
    own models) RecBole's ways stay.

    Scores are computed a block at a time wherever the model and the metrics let them be.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.eval_collector = BlockCollector(self.config)  # type: ignore[attr-defined]

    def evaluate(
        self, eval_data: Any, load_best_model: bool = True, model_file: str | None = None, show_progress: bool = False
    ) -> Any:
        """RecBole's ``Trainer.evaluate``; checkpoints are read by :func:`~recbole_pixel.checkpoint.read_checkpoint`."""
        if not eval_data:
            return None
        if load_best_model:
            self._load_best(model_file or self.saved_model_file)  # type: ignore[attr-defined]
        if isinstance(self.eval_collector, BlockCollector):  # not one that the user put in its place
            self.eval_collector.forget()  # an error or Ctrl+C may have ended the last evaluation
        self._histories = getattr(eval_data._dataset, "histories", None)
        return super().evaluate(eval_data, False, None, show_progress)

    def _load_best(self, path: str) -> None:
        trainer: Any = self
        with trusting(trainer.config[TRUST]):
            checkpoint = read_checkpoint(path, trainer.device)
        trainer.model.load_state_dict(checkpoint["state_dict"])
        trainer.model.load_other_parameter(checkpoint.get("other_parameter"))
        trainer.logger.info(f"Loading model structure and parameters from {path}")

    def _full_sort_batch_eval(self, batched_data: Any) -> Any:
        interaction, history, positive_u, positive_i = batched_data
        masks = self.config["mask_history"]  # type: ignore[attr-defined]
        if masks is False:
            history = None
        elif masks and history is None and self._histories is not None and HISTORY_START in interaction:
            rows, items = self._histories.consumed(interaction[HISTORY_START], interaction[HISTORY_LENGTH])
            keep = items != positive_i[rows]
            history = (rows[keep], items[keep])
        with LazyProducts(self.tot_item_num):  # type: ignore[attr-defined]
            return super()._full_sort_batch_eval((interaction, history, positive_u, positive_i))

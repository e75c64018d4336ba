"""What recommending the most popular items would score, on the same validation, under the same mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from recbole_pixel.evaluation.training_counts import training_counts


class PopularityScores(nn.Module):
    """A model that scores an item by how often it was consumed in training.

    Args:
        counts: of each item, by id, (N,).
        item_field: name of the item ids.
    """

    counts: Tensor

    def __init__(self, counts: Tensor, item_field: str) -> None:
        super().__init__()
        self.item_field = item_field
        self.register_buffer("counts", counts.float())

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items, (B, N), as a product: it is never computed whole."""
        return self.counts.new_ones(len(interaction), 1) @ self.counts[None]

    def predict(self, interaction: Any) -> Tensor:
        """Scores of the items of ``interaction``, (B,)."""
        return self.counts[interaction[self.item_field]]


def popularity_score(trainer: Any, dataset: Any, validate: Callable[[], float]) -> float | None:
    """What ``validate`` makes of popularity in the place of the trainer's model; None if it ranks by sampled items.

    Args:
        trainer: of RecBole.
        dataset: the training part.
        validate: the score of a validation of ``trainer.model``.
    """
    if trainer.config["eval_args"]["mode"] not in ("full", {"valid": "full", "test": "full"}):
        return None  # sampled negatives may be drawn from the run's own random numbers
    counts = torch.from_numpy(training_counts(dataset))
    model = trainer.model
    trainer.model = PopularityScores(counts, trainer.config["ITEM_ID_FIELD"]).to(trainer.device)
    try:
        return validate()
    finally:
        trainer.model = model

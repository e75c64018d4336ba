"""Records what an evaluation found of each user and each target, beside RecBole's metrics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from recbole_pixel.evaluation.positives import Positives

USER, TARGET_COUNT, TARGET_ITEM, TARGET_RANK = RECORDED = (
    "recorded.user", "recorded.target_count", "recorded.target_item", "recorded.target_rank",
)  # fmt: skip
"""User ids (U,) and how many targets each has; these targets' items and ranks, behind one another, (T,) both."""


@contextmanager
def recording(trainer: Any) -> Iterator[dict[str, Any]]:
    """Within it, evaluations of ``trainer`` record; under ``"struct"``, the last one's, by the names above.

    Nothing is recorded of metrics that need all scores (``AUC``, ``LogLoss`` and the like).
    """
    collector, found = trainer.eval_collector, dict[str, Any]()
    collector.record = found
    try:
        yield found
    finally:
        collector.record = None


def recorded_of(users: Tensor, positives: Positives, items: Tensor) -> dict[str, Tensor]:
    """What is recorded of a batch.

    Args:
        users: ids, one for each row of scores, or for each sampled item of a row, one row behind the other.
        positives: its targets.
        items: the best items of each row, the best first, (B, k).

    Raises:
        ValueError: sampled items of two rows next to each other are of one user.
    """
    if len(users) != len(items):
        users = users.unique_consecutive()
    if len(users) != len(items):
        raise ValueError(
            f"{len(items)} rankings are of {len(users)} users, and sampled items do not say of which; rank all items "
            f"(eval_args mode: full), or leave per_user and popularity_buckets out"
        )
    is_found = items[positives.rows] == positives.items[:, None]
    ranks = torch.where(is_found.any(1), is_found.int().argmax(1) + 1, 0)
    return dict(zip(RECORDED, (users.to(items.device), positives.counts, positives.items, ranks), strict=True))

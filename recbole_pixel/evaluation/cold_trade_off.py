"""What it costs warm items to lift cold ones: hits of both, at several lifts."""

from __future__ import annotations

from typing import Any

import torch
from recbole.data.dataloader.general_dataloader import FullSortEvalDataLoader
from torch import Tensor

from recbole_pixel.distributed import is_shared, sum_over_ranks
from recbole_pixel.evaluation.cold import SCORES, TOP
from recbole_pixel.evaluation.cold_calibration import OFFSETS, ColdCalibration
from recbole_pixel.evaluation.lazy_scores import LazyScores
from recbole_pixel.evaluation.rank_shares import own_rows
from recbole_pixel.evaluation.score_blocks import ScoreBlocks, Whole


@torch.no_grad()
def trade_off(trainer: Any, test: Any, calibration: ColdCalibration, cold_ranks: Tensor) -> list[dict[str, float]]:
    """HR@10 among all items of cold and of warm targets, at each of ``OFFSETS``, and the harmonic mean of the two.

    Args:
        trainer: has just evaluated ``test``.
        test: the loader of the test part, whose targets are warm.
        calibration: its kind counts.
        cold_ranks: of the cold cases, at each offset, (C, S).

    Returns:
        A mapping for each offset; none where there are no cases, or where not all items are ranked in the test.
    """
    if not isinstance(test, FullSortEvalDataLoader) or not len(cold_ranks):
        return []
    warm, n_warm = _warm_hits(trainer, test, calibration)
    cold = (cold_ranks < TOP).double().mean(0).tolist()
    return [
        {"offset": offset, "cold": round(hit, 4), "warm": round(other, 4), "harmonic": round(_harmonic(hit, other), 4)}
        for offset, hit, other in zip(OFFSETS, cold, (warm / n_warm).tolist(), strict=True)
    ]


def _harmonic(one: float, other: float) -> float:
    return 2 * one * other / (one + other) if one and other else 0.0


def _warm_hits(trainer: Any, test: Any, calibration: ColdCalibration) -> tuple[Tensor, Tensor]:
    """Hits at each offset, (S,), and the number of targets, over all ranks."""
    total = torch.zeros(len(OFFSETS) + 1, dtype=torch.float64, device=trainer.device)
    for batch in own_rows(test) if is_shared(len(test.sampler)) else test:
        scores, rows, items = trainer.uncalibrated(batch)
        blocks = scores.blocks if isinstance(scores, LazyScores) else Whole(scores)
        size = max(1, SCORES // blocks.shape[1])
        for own, targets in zip(rows.split(size), items.split(size), strict=True):
            ranks = _ranks(blocks, own.to(trainer.device), targets.to(trainer.device), calibration)
            total += torch.cat([(ranks < TOP).sum(0), torch.tensor([len(own)], device=trainer.device)])
    total = sum_over_ranks(total)
    return total[:-1].cpu(), total[-1].cpu()


def _ranks(blocks: ScoreBlocks, rows: Tensor, targets: Tensor, calibration: ColdCalibration) -> Tensor:
    """Ranks of some targets, (E,), at each offset: (E, S)."""
    users, places = rows.unique(return_inverse=True)  # a user may have several targets; a block has each row once
    scores = blocks.block(users, slice(0, blocks.shape[1]))[places]
    return calibration.ranks_by_offset(scores, targets, calibration.line(scores), OFFSETS)

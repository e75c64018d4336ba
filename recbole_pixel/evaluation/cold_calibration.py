"""Lets cold items compete with warm ones: their scores on the scale of warm ones, and lifted by a chosen amount.

What a model learnt of a warm item, how popular it is before all, moves its score far from the mean, and the first
places are full of such items. A cold item's score holds only what its picture or text tells, and seldom gets so far.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from recbole_pixel.evaluation.score_blocks import Rows, ScoreBlocks

OFFSETS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)
"""Lifts that a result tells the price of."""


class Line(NamedTuple):
    """What the scores of cold items become, by user: ``scale * score + shift + offset * unit``; (B, 1) each."""

    scale: Tensor
    shift: Tensor
    unit: Tensor

    def at(self, scores: Tensor, offset: float) -> Tensor:
        """The new ``scores`` (B, M)."""
        return scores * self.scale + self.shift + offset * self.unit

    def of_rows(self, rows: Rows) -> Line:
        """The lines of some users, (E, 1)."""
        return Line(*(part[rows] for part in self))


@dataclass(frozen=True)
class ColdCalibration:
    """How the scores of cold items are changed before they are ranked among warm ones.

    Their order among themselves stays.

    Attributes:
        is_cold: by item id, bool (N,).
        kind: ``none``; or ``standard``: each user's cold items get the mean and the deviation of the warm ones.
        offset: added to cold items; in standard deviations of the user's scores of warm items.
    """

    is_cold: Tensor
    kind: str = "none"
    offset: float = 0.0

    @property
    def changes(self) -> bool:
        """Whether it does anything."""
        return self.kind != "none" or self.offset != 0

    def line(self, scores: Tensor) -> Line:
        """The line of each user, from scores (B, N), of which those that are not ranked are -inf."""
        cold = self.is_cold.to(scores.device)
        warm_mean, warm_deviation = moments(scores[:, ~cold])
        if self.kind == "none":
            return Line(torch.ones_like(warm_mean), torch.zeros_like(warm_mean), warm_deviation)
        mean, deviation = moments(scores[:, cold])
        is_spread = (warm_deviation > 0) & (deviation > 0)
        scale = torch.where(is_spread, warm_deviation / deviation, 1.0)
        return Line(scale, warm_mean - mean * scale, warm_deviation)

    def of(self, scores: Tensor) -> Tensor:
        """The calibrated scores of (B, N), of which those that are not ranked are -inf."""
        if not self.changes:
            return scores
        return self.on(self.line(scores), scores)

    def on(self, line: Line, scores: Tensor) -> Tensor:
        """Scores (B, N), those of cold items on each user's line."""
        return torch.where(self.is_cold.to(scores.device), line.at(scores, self.offset), scores)

    def ranks_by_offset(self, scores: Tensor, targets: Tensor, line: Line, offsets: tuple[float, ...]) -> Tensor:
        """Rank of each target at each offset, from 0, ties broken at their middle.

        Args:
            scores: before calibration, (B, N).
            targets: ids, one a row, (B,).
            line: of each row.
            offsets: S of them.

        Returns:
            (B, S).
        """
        is_cold = self.is_cold.to(scores.device)
        warm, cold = scores[:, ~is_cold], scores[:, is_cold]
        own = scores.gather(1, targets[:, None])
        ranks = []
        for offset in offsets:
            lifted = line.at(cold, offset)
            own_now = torch.where(is_cold[targets][:, None], line.at(own, offset), own)
            above = (warm > own_now).sum(1) + (lifted > own_now).sum(1)
            equal = (warm == own_now).sum(1) + (lifted == own_now).sum(1) - 1
            ranks.append(above + equal / 2)
        return torch.stack(ranks, dim=1)


def moments(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each row's scores (B, M), those of -inf left out: (B, 1) both; 0 of none."""
    is_ranked = scores > -torch.inf
    n_ranked = is_ranked.sum(1, keepdim=True).clamp(min=1)
    mean = scores.masked_fill(~is_ranked, 0).sum(1, keepdim=True) / n_ranked
    off = (scores - mean).masked_fill(~is_ranked, 0)
    return mean, (off.square().sum(1, keepdim=True) / n_ranked).sqrt()


class Calibrated(ScoreBlocks):
    """Scores of which those of cold items are calibrated.

    Args:
        scores: before.
        calibration: what is done to them.
        limit: scores that are computed at a time to find each user's line.
    """

    def __init__(self, scores: ScoreBlocks, calibration: ColdCalibration, limit: int = 2**24) -> None:
        super().__init__(scores.shape, scores.device)
        self.scores, self.calibration = scores, calibration
        n_rows, n_items = scores.shape
        size = max(1, limit // n_items)
        parts = [slice(first, min(first + size, n_rows)) for first in range(0, n_rows, size)]
        lines = [calibration.line(scores.block(rows, slice(0, n_items))) for rows in parts]
        self.line = Line(*(torch.cat(part) for part in zip(*lines, strict=True)))

    def block(self, rows: Rows, columns: slice) -> Tensor:
        """The others' block, cold items' columns on their users' lines."""
        found = self.scores.block(rows, columns)
        line = self.line.of_rows(rows)
        is_cold = self.calibration.is_cold[columns].to(found.device)
        return torch.where(is_cold, line.at(found, self.calibration.offset).to(found.dtype), found)

"""Where a batch's positive items stand in a ranking."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recbole_pixel.evaluation.score_blocks import ScoreBlocks
from recbole_pixel.evaluation.top_items import SCORES


@dataclass(frozen=True)
class Positives:
    """Distinct pairs of a row and an item, sorted.

    Attributes:
        rows: (E,).
        items: (E,).
        shape: (B, N).
    """

    rows: Tensor
    items: Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, rows: Tensor, items: Tensor, shape: tuple[int, int]) -> Positives:
        """Pairs in any order, some more than once."""
        keys = (rows * shape[1] + items).unique()
        return cls(keys // shape[1], keys % shape[1], shape)

    @property
    def counts(self) -> Tensor:
        """Positive items of each row, (B,)."""
        return torch.bincount(self.rows, minlength=self.shape[0])

    def hits(self, ranked: Tensor) -> Tensor:
        """RecBole's ``rec.topk``: which of the ``ranked`` ids (B, k) are positive, and how many are; (B, k + 1)."""
        first = torch.arange(len(ranked), device=ranked.device)[:, None] * self.shape[1]
        is_positive = torch.isin(first + ranked, self.rows * self.shape[1] + self.items)
        return torch.cat([is_positive.long(), self.counts[:, None]], dim=1)

    def mean_ranks(self, scores: ScoreBlocks) -> Tensor:
        """RecBole's ``rec.meanrank``, without sorting.

        Args:
            scores: (B, N), of which those of the padding and of masked items are -inf.

        Returns:
            Sum of the positives' ranks from 1, where equal scores share the mean of theirs; number of items ranked;
            number of positives: float32, (B, 3).
        """
        n_rows, n_items = self.shape
        size = max(1, SCORES // n_items)
        parts = [slice(first, min(first + size, n_rows)) for first in range(0, n_rows, size)]
        return torch.cat([self._mean_ranks(scores.block(rows, slice(0, n_items)), rows) for rows in parts])

    def _mean_ranks(self, scores: Tensor, rows: slice) -> Tensor:
        counts = self.counts[rows]
        first = (self.counts.cumsum(0) - self.counts)[rows]
        total = torch.zeros(len(scores), dtype=torch.float64, device=scores.device)
        for number in range(int(counts.max())):
            has = (number < counts).nonzero()[:, 0]
            among = scores if len(has) == len(scores) else scores[has]
            own = among.gather(1, self.items[first[has] + number][:, None])
            above, equal = (compared(among, own).sum(1) for compared in (torch.gt, torch.eq))
            total[has] += above + (equal + 1) / 2
        n_ranked = (scores > -torch.inf).sum(1)
        return torch.stack([total, n_ranked, counts], dim=1).float()

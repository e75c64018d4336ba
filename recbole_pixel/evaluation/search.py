"""A search for the highest scores of each row, while blocks of columns pass by."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

GROUP = 64  # columns of which only the maximum is compared, at most


@dataclass
class Search:
    """What can be among the ``k`` best of each row, while blocks of columns pass by.

    The k-th highest of the maxima of groups of columns is a bound: ``k`` scores are at least as high. Only the groups
    that reach it are looked into. A row in which far more groups than ``k`` do has ties, or too few items: it is given
    up.

    Attributes:
        n_rows: B.
        k: how many are wanted of each row.
        width: columns of a block, at most.
        slack: twice what scores may be off, by row, before they were rounded to bf16; (B, 1). None of exact scores.
    """

    n_rows: int
    k: int
    width: int
    slack: Tensor | None = None
    kept: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)  # rows, columns and scores, (E,) each

    def __post_init__(self) -> None:
        self.group = max(1, min(GROUP, self.width // (4 * self.k)))
        self.best = torch.full((self.n_rows, self.k), -torch.inf)
        self.is_given_up = torch.zeros(self.n_rows, dtype=torch.bool)
        self.n_kept = 0

    @property
    def bound(self) -> Tensor:
        """What a score has to reach, (B, 1)."""
        return self.bound_of(self.best[:, -1:]).masked_fill(self.is_given_up[:, None], torch.inf)

    def bound_of(self, reached: Tensor) -> Tensor:
        """What a score has to reach that is as high as any that ``k`` others ``reached``: (B, 1) to (B, 1)."""
        return reached if self.slack is None else lowest(lowest(reached) - self.slack)

    def add(self, block: Tensor, offset: int) -> None:
        """Searches a ``block`` (B, W) whose first column is ``offset``."""
        if block.shape[1] % self.group:
            block = F.pad(block, (0, -block.shape[1] % self.group), value=-torch.inf)
        grouped = block.view(self.n_rows, self.group, -1)
        highest = grouped.amax(1).float()
        self.best = torch.cat([self.best, highest], 1).topk(self.k).values
        self.is_given_up |= self.best[:, 0].isnan()
        reaches = highest >= self.bound
        self.is_given_up |= reaches.sum(1) > 4 * self.k + 2 * self.group
        reaches &= ~self.is_given_up[:, None]
        rows, groups = reaches.nonzero(as_tuple=True)
        values = grouped[rows, :, groups].float()
        which, place = (values >= self.bound[rows]).nonzero(as_tuple=True)
        columns = offset + place * grouped.shape[2] + groups[which]
        self._keep(rows[which], columns, values[which, place])

    def _keep(self, rows: Tensor, columns: Tensor, values: Tensor) -> None:
        self.kept.append((rows, columns, values))
        self.n_kept += len(rows)
        if self.n_kept > 32 * self.k * self.n_rows:
            self._drop_all_below()

    def _drop_all_below(self) -> None:
        rows, columns, values = (torch.cat(parts) for parts in zip(*self.kept, strict=True))
        stays = values >= self.bound[rows, 0]
        self.kept = [(rows[stays], columns[stays], values[stays])]
        self.n_kept = len(self.kept[0][0])

    def candidates(self) -> tuple[Tensor, Tensor]:
        """Columns and scores of what each row kept, (B, C) both; -inf where they cannot be among the best."""
        self._drop_all_below()
        self.is_given_up |= torch.bincount(self.kept[0][0], minlength=self.n_rows) > 64 * self.k
        self._drop_all_below()
        rows, columns, values = self.kept[0]
        order = rows.argsort(stable=True)
        counts = torch.bincount(rows, minlength=self.n_rows)
        place = torch.arange(len(rows)) - (counts.cumsum(0) - counts)[rows[order]]
        size = max(self.k + 1, int(counts.max()))
        padded = torch.full((self.n_rows, size), -torch.inf), torch.zeros(self.n_rows, size, dtype=torch.int64)
        padded[0][rows[order], place], padded[1][rows[order], place] = values[order], columns[order]
        columns, values = padded[1], padded[0]
        is_below = values < self.bound_of(values.topk(self.k).values[:, -1:])
        return columns, values.masked_fill(is_below, -torch.inf)


def lowest(scores: Tensor) -> Tensor:
    """The least that numbers can have been before they were rounded to bf16."""
    return scores - scores.abs() * 2.0**-8


def best_of(columns: Tensor, values: Tensor, k: int, is_whole: Tensor) -> tuple[Tensor, Tensor]:
    """The ``k`` best of candidates (B, C), C above ``k``, and in which of the rows that are whole no two are equal."""
    highest, places = values.topk(k + 1)
    is_tied = (highest[:, :-1] == highest[:, 1:]).any(1)
    return columns.gather(1, places[:, :k]), is_whole & ~is_tied

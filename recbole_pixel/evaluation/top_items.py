"""The best items of each user, without the scores of all users and all items at a time."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_pixel.evaluation.score_blocks import ScoreBlocks

ROWS = 512  # users scored at a time
WIDTH = 8192  # items scored at a time: a block of 16 MB, which the processor's cache holds while it is searched
GROUP = 64  # items of which only the maximum is compared, at most
SCORES = 2**26  # scores computed at a time where rows are ranked whole: 256 MB


def top_items(scores: ScoreBlocks, k: int, width: int = WIDTH) -> Tensor:
    """Ids of each user's ``k`` best items, the best first: what ``torch.topk`` finds in the whole scores.

    Blocks are searched only for what can still be among the best. Rows with ties around these, or with fewer than ``k``
    items left in, are ranked whole, so that ties are broken as torch breaks them.

    Args:
        scores: (B, N).
        k: at most N.
        width: items scored at a time; catalogues of less than twice as many, and scores on accelerators, which rank
            faster than they wait, are ranked whole, some users at a time.

    Returns:
        int64, (B, k).
    """
    n_rows, n_items = scores.shape
    first = scores.block(slice(0, 1), slice(0, 1))
    if first.device.type != "cpu" or n_items < 2 * width or 4 * k > width:
        return whole_top_items(scores, torch.arange(n_rows), k)
    parts = [_searched(scores, slice(start, min(start + ROWS, n_rows)), k, width) for start in range(0, n_rows, ROWS)]
    return torch.cat(parts)


def whole_top_items(scores: ScoreBlocks, rows: Tensor, k: int) -> Tensor:
    """:func:`top_items` of some ``rows`` (R,), by ``torch.topk`` of all their scores."""
    n_items = scores.shape[1]
    found = [
        torch.topk(scores.block(part, slice(0, n_items)), k, dim=-1).indices
        for part in rows.split(max(1, SCORES // n_items))
    ]
    return torch.cat(found)


def _searched(scores: ScoreBlocks, rows: slice, k: int, width: int) -> Tensor:
    search = Search(rows.stop - rows.start, k, width)
    for columns in in_stretches(scores.shape[1], width):
        search.add(scores.block(rows, columns), columns.start)
    found, is_sure = search.result()
    unsure = (~is_sure).nonzero()[:, 0]
    if len(unsure):
        found[unsure] = whole_top_items(scores, unsure + rows.start, k)
    return found


def in_stretches(n_items: int, width: int) -> list[slice]:
    """All items, ``width`` at a time."""
    return [slice(start, min(start + width, n_items)) for start in range(0, n_items, width)]


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
        slack: how much less than the bound, by row, a score may be and still be kept; (B, 1), or 0.
    """

    n_rows: int
    k: int
    width: int
    slack: Tensor | float = 0.0
    kept: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)  # rows, columns and scores, (E,) each

    def __post_init__(self) -> None:
        self.group = max(1, min(GROUP, self.width // (4 * self.k)))
        self.best = torch.full((self.n_rows, self.k), -torch.inf)
        self.is_given_up = torch.zeros(self.n_rows, dtype=torch.bool)
        self.n_kept = 0

    @property
    def bound(self) -> Tensor:
        """What a score has to reach, (B, 1)."""
        bound = self.best[:, -1:] - self.slack
        return bound.masked_fill(self.is_given_up[:, None], torch.inf)

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
        """Columns and scores of what each row kept, (B, C) both; -inf behind the last."""
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
        return padded[1], padded[0]

    def result(self) -> tuple[Tensor, Tensor]:
        """The best columns, (B, k), and in which rows they are sure, bool (B,): neither given up, nor tied."""
        columns, values = self.candidates()
        return best_of(columns, values, self.k, ~self.is_given_up)


def best_of(columns: Tensor, values: Tensor, k: int, is_whole: Tensor) -> tuple[Tensor, Tensor]:
    """The ``k`` best of candidates (B, C), C above ``k``, and in which of the rows that are whole no two are equal."""
    highest, places = values.topk(k + 1)
    is_tied = (highest[:, :-1] == highest[:, 1:]).any(1)
    return columns.gather(1, places[:, :k]), is_whole & ~is_tied

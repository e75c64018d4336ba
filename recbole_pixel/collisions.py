"""Which candidates are not ranked against a target: the other items of its row; of pairs, what their user consumed.

A row is a window of its user's history: what the user consumed outside of it is ranked like any other item. Collisions
are kept as lists of positions, never as a mask of the size of the scores.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Collisions(Protocol):
    """Candidates that some targets are not ranked against."""

    def exclude_(self, scores: Tensor, first: int, own: Tensor | None = None) -> Tensor:
        """``scores`` with -inf at the candidates that collide, in position.

        Args:
            scores: of the targets ``first``, ``first + 1``, ...: (t, U).
            first: number of the first target.
            own: the positions of these targets themselves, which are kept, (t,); None where they are no candidates.
        """


class RowCollisions:
    """Candidates that stand in the row which a target comes from.

    Args:
        positions: positions among the candidates of the items of each row, (B, W); -1 for an item that is none.
        row_of_target: (T,).
    """

    def __init__(self, positions: Tensor, row_of_target: Tensor) -> None:
        self.positions, self.row_of_target = positions, row_of_target

    @classmethod
    def among(cls, candidates: Tensor, item_rows: Tensor, row_of_target: Tensor) -> RowCollisions:
        """Those of the rows ``item_rows``, item ids (B, W) padded with 0, among sorted ``candidates``, ids (U,)."""
        return cls(positions_among(candidates, item_rows), row_of_target)

    def exclude_(self, scores: Tensor, first: int, own: Tensor | None = None) -> Tensor:
        """See :class:`Collisions`."""
        positions = self.positions[self.row_of_target[first : first + len(scores)]]
        collides = positions >= 0 if own is None else (positions >= 0) & (positions != own[:, None])
        return scores.scatter_add_(1, positions.clamp(min=0), _minus_infinity_where(collides, scores.dtype))


class PairCollisions:
    """Candidates named one by one.

    Args:
        targets: numbers of targets, (E,).
        positions: positions among the candidates, (E,).
    """

    def __init__(self, targets: Tensor, positions: Tensor) -> None:
        self.targets, self.positions = targets, positions

    def exclude_(self, scores: Tensor, first: int, own: Tensor | None = None) -> Tensor:
        """See :class:`Collisions`."""
        line = self.targets - first
        collides = (line >= 0) & (line < len(scores))
        line = line.clamp(0, len(scores) - 1)
        if own is not None:
            collides &= self.positions != own[line]
        return scores.index_put_((line, self.positions), _minus_infinity_where(collides, scores.dtype), accumulate=True)


def positions_among(candidates: Tensor, ids: Tensor) -> Tensor:
    """Positions of ``ids``, any shape, in sorted ``candidates`` (U,); -1 for the padding and for what is not there."""
    positions = torch.searchsorted(candidates, ids.contiguous()).clamp_(max=len(candidates) - 1)
    return positions.masked_fill((candidates[positions] != ids) | (ids == 0), -1)


def _minus_infinity_where(collides: Tensor, dtype: torch.dtype) -> Tensor:
    """-inf, or 0: what is added to scores. Adding knows no order, so that positions may stand twice."""
    return torch.zeros_like(collides, dtype=dtype).masked_fill_(collides, -torch.inf)

"""Which rows of a batch a rank trains on, where several train on it together."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recbole_pixel.distributed import rank, world_size

RANK_TARGETS = "rank_targets"  # field: how many targets this rank's rows have that count, and all ranks' rows, (2,)


class RankRows:
    """Every W-th row of a batch, W ranks: neighbours, which are often a user's, are spread evenly.

    A rank for which there is none takes the first row, which does not count: all ranks run each step.

    Args:
        targets: item ids of the whole batch, (B, T), padded with 0.

    Attributes:
        own: numbers of this rank's rows, at least one.
    """

    def __init__(self, targets: np.ndarray) -> None:
        rows = np.arange(rank(), len(targets), world_size())
        self._n_counted = int((targets[rows] > 0).sum())
        self._n_all = int((targets > 0).sum())
        self.own = rows if len(rows) else np.zeros(1, dtype=np.int64)

    @property
    def n_targets(self) -> Tensor:
        """How many targets of this rank's rows count, and how many all ranks' rows have: int64, (2,)."""
        return torch.tensor([self._n_counted, self._n_all])

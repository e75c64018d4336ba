"""What each user consumed, in the order of time: the source of rows and of the evaluation's mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

HISTORY_START = "history_start"  # field: where a row's user begins in the flat array of items
HISTORY_LENGTH = "history_length"  # field: how many items the user consumed before the row's target


@dataclass(frozen=True)
class Histories:
    """All interactions as one flat array, sorted by user and time.

    Attributes:
        users: user ids, int64 (n,), sorted.
        items: item ids, int64 (n,).
    """

    users: np.ndarray
    items: np.ndarray

    def __deepcopy__(self, memo: dict[int, object]) -> Histories:
        return self

    def consumed(self, start: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """What users had consumed, as an index into scores.

        Args:
            start: where each row's user begins, (B,).
            length: number of items consumed, (B,).

        Returns:
            Row numbers and item ids, both of shape (sum of ``length``,).
        """
        start, length = start.cpu().long(), length.cpu().long()
        rows = torch.repeat_interleave(torch.arange(len(length)), length)
        first = torch.repeat_interleave(start - (length.cumsum(0) - length), length)
        return rows, torch.from_numpy(self.items)[first + torch.arange(len(rows))]

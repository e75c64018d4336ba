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
        rows, items = self.consumed_rows(start.cpu().long().numpy(), length.cpu().long().numpy())
        return torch.from_numpy(rows), torch.from_numpy(items)

    def consumed_rows(self, start: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """:meth:`consumed` for arrays."""
        rows = np.repeat(np.arange(len(length)), length)
        first = np.repeat(start - (np.cumsum(length) - length), length)
        return rows, self.items[first + np.arange(len(rows))]

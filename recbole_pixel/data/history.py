"""What each user consumed, in the order of time: the source of rows and of the evaluation's mask."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

HISTORY_START = "history_start"  # field: where a row's user begins in the flat array of items
HISTORY_LENGTH = "history_length"  # field: how many items the user consumed before the row's target


@dataclass(frozen=True)
class FlatColumns:
    """Interactions as one tensor a field, (n, ...), sorted by user and time; ids are int32 where these suffice."""

    tensors: dict[str, Tensor]

    def __deepcopy__(self, memo: dict[int, object]) -> FlatColumns:
        return self

    def __getitem__(self, field: str) -> Tensor:
        return self.tensors[field]

    def at(self, positions: np.ndarray) -> FlatColumns:
        """Only the interactions at ``positions``."""
        index = torch.from_numpy(positions)
        return FlatColumns({field: tensor[index] for field, tensor in self.tensors.items()})

    def only(self, fields: Container[str]) -> FlatColumns:
        """Only these ``fields``."""
        return FlatColumns({field: tensor for field, tensor in self.tensors.items() if field in fields})

    def gathered(self, positions: np.ndarray) -> dict[str, Tensor]:
        """The interactions at ``positions`` (B,), ids as int64: each field (B, ...)."""
        index = torch.from_numpy(positions)
        rows = {field: tensor[index] for field, tensor in self.tensors.items()}
        return {field: row.long() if row.dtype == torch.int32 else row for field, row in rows.items()}


class NarrowIds(np.ndarray):
    """int32 ids, of which any choice is int64: torch takes nothing else for targets and some indices."""

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return np.asarray(found, np.int64) if isinstance(found, np.ndarray) else found


@dataclass(frozen=True)
class Histories:
    """All interactions as one flat array, sorted by user and time.

    Attributes:
        users: user ids, (n,), sorted; int64, or int32 that become int64 when some are chosen.
        items: item ids, (n,), likewise.
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

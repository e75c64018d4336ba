"""What each user consumed, as far as an answer may know it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_pixel.data.history import HISTORY_LENGTH, HISTORY_START, Histories

KINDS = ("all", "train")


@dataclass(frozen=True)
class UserHistories:
    """A stretch of interactions for each row.

    Attributes:
        flat: interactions, each user's in the order of time.
        start: where each row's begin, (B,).
        length: how many they are, (B,).
    """

    flat: Histories
    start: np.ndarray
    length: np.ndarray

    @classmethod
    def of_rows(cls, rows: Sequence[np.ndarray]) -> UserHistories:
        """Histories that are given as item ids."""
        length = np.array([len(row) for row in rows], dtype=np.int64)
        users = np.repeat(np.arange(len(rows)), length)
        return cls(Histories(users, np.concatenate([*rows, np.zeros(0, np.int64)])), np.cumsum(length) - length, length)

    def of(self, rows: np.ndarray) -> UserHistories:
        """Those of some rows, (n,)."""
        return UserHistories(self.flat, self.start[rows], self.length[rows])

    def items(self, row: int) -> np.ndarray:
        """The item ids of a row, the oldest first."""
        return np.asarray(self.flat.items[self.start[row] : self.start[row] + self.length[row]], dtype=np.int64)

    def consumed(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and item of each interaction, (E,) each."""
        return self.flat.consumed_rows(self.start, self.length)

    def hide_in(self, scores: Tensor) -> None:
        """Makes the scores, (B, N), of what each row's person consumed -inf."""
        rows, items = self.consumed()
        scores[torch.from_numpy(rows), torch.from_numpy(np.asarray(items, dtype=np.int64))] = -torch.inf


def check_kind(kind: str) -> None:
    """Refuses what is none of :data:`KINDS`."""
    if kind not in KINDS:
        raise ValueError(f"history is {kind!r}; expected all (what is known today) or train (without test targets)")


def known_histories(parts: Sequence[Any], kind: str, everything: Any = None) -> UserHistories:
    """The history of each user id, (user_num,).

    Args:
        parts: training, validation and test part of a dataset.
        kind: ``all``: every interaction; ``train``: those before the user's first test target, which is what the final
            evaluation ranks by.
        everything: a dataset with the interactions that were held out of ``parts`` as cold items, if any were.
    """
    if everything is not None:
        return _whole(everything.histories, parts[0].user_num)
    if hasattr(parts[0], "histories") and hasattr(parts[0], "max_item_list_len"):
        whole = _whole(parts[0].histories, parts[0].user_num)
        return whole if kind == "all" else _before(whole, _targets(parts[2]))
    fields = parts[0].uid_field, parts[0].iid_field
    rows = [part.inter_feat for part in (parts if kind == "all" else parts[:2])]
    users, items = (np.concatenate([row[field].numpy() for row in rows]) for field in fields)
    order = np.argsort(users, kind="stable")
    return _whole(Histories(users[order], items[order]), parts[0].user_num)


def _whole(flat: Histories, n_users: int) -> UserHistories:
    length = np.bincount(flat.users, minlength=n_users)
    return UserHistories(flat, np.cumsum(length) - length, length)


def _targets(part: Any) -> np.ndarray:
    """Positions of a sequential part's targets in the flat array of interactions."""
    if hasattr(part, "target_runs"):
        targets: np.ndarray = part.targets
        return targets
    return (part.inter_feat[HISTORY_START] + part.inter_feat[HISTORY_LENGTH]).numpy()


def _before(whole: UserHistories, targets: np.ndarray) -> UserHistories:
    end = whole.start + whole.length
    np.minimum.at(end, whole.flat.users[targets], targets)
    return UserHistories(whole.flat, whole.start, end - whole.start)

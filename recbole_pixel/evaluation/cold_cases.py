"""The cold items' occurrences one by one: who met which, and where it stood."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class ColdCases(NamedTuple):
    """Every occurrence of a cold item that has a history, in the order of users and times.

    Attributes:
        cold_user: token of who met the item, (C,).
        cold_target: token of the item, (C,).
        cold_rank_all: its rank among all items, from 1, where equal scores share the mean of theirs, float32 (C,).
        cold_rank_cold: the same among the cold items, (C,).
    """

    cold_user: np.ndarray
    cold_target: np.ndarray
    cold_rank_all: np.ndarray
    cold_rank_cold: np.ndarray


def cold_cases(ranks: Any, dataset: Any) -> ColdCases:
    """Cases by tokens.

    Args:
        ranks: :class:`~recbole_pixel.evaluation.cold.ColdRanks`.
        dataset: with the cold items that they are of.
    """
    users, items = (np.asarray(dataset.field2id_token[field]) for field in (dataset.uid_field, dataset.iid_field))
    return ColdCases(
        users[dataset.cold.users].astype(str),
        items[dataset.cold.targets].astype(str),
        *((rank.numpy() + 1).astype(np.float32) for rank in (ranks.all, ranks.cold)),
    )


def cold_tokens(training: Any) -> np.ndarray:
    """Tokens of the items that were held out of training, (m,)."""
    tokens = np.asarray(training.field2id_token[training.iid_field])
    cold = getattr(training, "cold", None)
    return tokens[:0].astype(str) if cold is None else tokens[np.flatnonzero(cold.is_cold)].astype(str)


def read_cold_cases(path: str | Path) -> ColdCases:
    """The cases in a file that the setting ``per_user`` wrote.

    Raises:
        ValueError: there are none.
    """
    with np.load(path, allow_pickle=False) as stored:
        missing = [name for name in ColdCases._fields if name not in stored]
        if missing:
            raise ValueError(f"{path} has no {missing[0]!r}; expected a file of a run with cold_items and per_user")
        return ColdCases(*(stored[name] for name in ColdCases._fields))

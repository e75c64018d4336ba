"""Cold items: held out of all training rows, to ask what a model makes of items it never saw."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from recbole_pixel.data.rows import user_starts

TRAINED_ITEMS = "trained_items"
"""Of a checkpoint, and of the Config that its run is rebuilt with: tokens of the items that were not cold."""


def draw_cold_items(tokens: np.ndarray, items: np.ndarray, share: float, split: int) -> np.ndarray:
    """Which items are cold: bool, by id, shape (N,).

    Drawn from the sorted tokens, so that the same ``split`` holds out the same items however ids are assigned.

    Args:
        tokens: the token of each id, (N,); index 0 is the padding.
        items: ids to draw from.
        share: fraction of ``items`` to hold out.
        split: seed of the draw.

    Raises:
        ValueError: ``share`` is not between 0 and 1, or leaves no item on one side.
    """
    n_cold = round(share * len(items)) if 0 < share < 1 else 0
    if not 0 < n_cold < len(items):
        raise ValueError(f"cold_items is {share}; expected a fraction of the {len(items)} items, such as 0.1")
    in_order = items[np.argsort(tokens[items].astype(str), kind="stable")]
    chosen = np.random.default_rng(split).choice(in_order, n_cold, replace=False)
    is_cold = np.zeros(len(tokens), dtype=bool)
    is_cold[chosen] = True
    return is_cold


def items_without(tokens: np.ndarray, trained: Collection[str]) -> np.ndarray:
    """Which items are none of ``trained``, held out or come since: bool, by id, shape (N,); never the padding."""
    is_cold = ~np.isin(tokens.astype(str), np.array(list(trained), dtype=str))
    is_cold[0] = False
    return is_cold


def trained_items(dataset: Any) -> list[str] | None:
    """Tokens of the items that ``dataset`` does not hold out; None where it holds none out."""
    cold = getattr(dataset, "cold", None)
    if cold is None:
        return None
    tokens = np.asarray(dataset.field2id_token[dataset.iid_field]).astype(str)
    return list(tokens[1:][~cold.is_cold[1:]].tolist())


@dataclass(frozen=True)
class ColdOccurrences:
    """Who consumed which cold items when, counted in warm items.

    Attributes:
        keys: user and how many warm items the user had consumed before, as one number, ascending, (m,).
        items: ids, (m,).
        longest: more than the warm items that any user had consumed before.
    """

    keys: np.ndarray
    items: np.ndarray
    longest: int

    @classmethod
    def of(cls, users: np.ndarray, items: np.ndarray, n_before: np.ndarray) -> ColdOccurrences:
        """Occurrences sorted by user and time, (m,) each; ``n_before`` counts the warm items of each one's user."""
        longest = int(n_before.max(initial=0)) + 2
        return cls(users.astype(np.int64) * longest + n_before, items.astype(np.int64), longest)

    def before(self, users: np.ndarray, n_warm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What users had consumed before their warm item number ``n_warm``, from 0.

        Args:
            users: ids, (B,).
            n_warm: how many warm items each had consumed, (B,).

        Returns:
            Row numbers and item ids, of as many as there are.
        """
        start = np.searchsorted(self.keys, users * self.longest)
        stop = np.searchsorted(self.keys, users * self.longest + np.minimum(n_warm, self.longest - 1), side="right")
        length = stop - start
        rows = np.repeat(np.arange(len(users)), length)
        return rows, self.items[np.repeat(start - (np.cumsum(length) - length), length) + np.arange(len(rows))]


@dataclass(frozen=True)
class ColdItems:
    """Cold items and each of their occurrences that has a history.

    Positions count in the flat array of warm interactions (``Histories`` of the dataset).

    Attributes:
        is_cold: by item id, bool (N,).
        users: user id of each case, (C,).
        targets: the cold item that was consumed, (C,).
        history_start: where the user begins among the warm interactions, (C,).
        history_length: how many warm items the user consumed before, (C,), at least 1.
        seen_cold: cold items that the user consumed before, for each case: ids, one array, with
        seen_offsets: its bounds, (C + 1,).
        every: all occurrences, those without a history among them.
    """

    is_cold: np.ndarray
    users: np.ndarray
    targets: np.ndarray
    history_start: np.ndarray
    history_length: np.ndarray
    seen_cold: np.ndarray
    seen_offsets: np.ndarray
    every: ColdOccurrences

    def __deepcopy__(self, memo: dict[int, object]) -> ColdItems:
        return self

    @classmethod
    def of(cls, users: np.ndarray, items: np.ndarray, is_cold: np.ndarray) -> ColdItems:
        """The cases among interactions sorted by user and time, ``users`` and ``items`` of shape (n,)."""
        cold = is_cold[items]
        warm_before = np.cumsum(~cold) - ~cold
        first = user_starts(users)
        history = warm_before - warm_before[first]
        cases = np.flatnonzero(cold & (history > 0))
        cold_before = np.cumsum(cold) - cold
        n_seen = (cold_before - cold_before[first])[cases]
        cold_items = items[cold]
        index = np.repeat(cold_before[first][cases] - (np.cumsum(n_seen) - n_seen), n_seen) + np.arange(n_seen.sum())
        return cls(
            is_cold, users[cases].astype(np.int64), items[cases].astype(np.int64), warm_before[first][cases],
            history[cases], cold_items[index].astype(np.int64), np.append(0, np.cumsum(n_seen)),
            ColdOccurrences.of(users[cold], cold_items, history[cold]),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.targets)

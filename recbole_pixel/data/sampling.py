"""Negative and extra candidates of a training step, drawn at random."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

MAX_REDRAWS = 20  # a user who owns most of the catalogue keeps a few collisions rather than stall the step


def draw_negatives(
    rng: np.random.Generator,
    candidates: np.ndarray,
    shape: tuple[int, ...],
    collides: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Uniform negatives that do not collide with what is consumed.

    Args:
        rng: source of randomness.
        candidates: item ids to draw from.
        shape: how many to draw, (B, T).
        collides: says of drawn items, (B, T), which must be drawn again.

    Returns:
        Item ids, (B, T).
    """
    drawn = rng.choice(candidates, shape)
    for _ in range(MAX_REDRAWS):
        again = collides(drawn)
        if not again.any():
            break
        drawn[again] = rng.choice(candidates, int(again.sum()))
    return drawn


def draw_distinct(rng: np.random.Generator, candidates: np.ndarray, n_items: int) -> np.ndarray:
    """``n_items`` of the item ids ``candidates``, sorted, none twice; all of them where there are fewer."""
    return np.sort(rng.choice(candidates, min(n_items, len(candidates)), replace=False))


def stands_in(rows: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A function that says which drawn items, (B, T), stand in their row of ``rows``, (B, L), padded with 0."""
    return lambda drawn: (drawn[:, :, None] == rows[:, None, :]).any(-1)


class Owned:
    """Which items each user consumed, found in time that grows with the logarithm of all interactions.

    Args:
        users: user ids, (n,).
        items: item ids, (n,).
        n_items: size of the catalogue.
    """

    def __init__(self, users: np.ndarray, items: np.ndarray, n_items: int) -> None:
        self.n_items = n_items
        self.keys = np.unique(users.astype(np.int64) * n_items + items)

    def of(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Whether each user consumed each item: bool, of the shape that ``users`` and ``items`` broadcast to."""
        keys = users.astype(np.int64) * self.n_items + items
        places = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        return self.keys[places] == keys


def log_inclusion(counts: np.ndarray, n_drawn: int, n_total: int, n_extra: int, n_candidates: int) -> np.ndarray:
    """Logarithm of the chance that items are in a step's catalogue.

    Rows are drawn without replacement, so that a step that holds all of them holds every item of theirs.

    Args:
        counts: occurrences in all training rows, by item, (U,).
        n_drawn: occurrences in the step.
        n_total: occurrences in all training rows, of all items.
        n_extra: further items drawn uniformly without replacement.
        n_candidates: how many these are drawn from.
    """
    missed = counts * np.log1p(-min(n_drawn / max(n_total, 1), 1 - 1e-9))
    missed = missed + np.log1p(-min(n_extra / max(n_candidates, 1), 1 - 1e-9))
    return np.log(-np.expm1(np.minimum(missed, -1e-12))).astype(np.float32)

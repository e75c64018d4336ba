"""Negative and extra candidates of a training step, drawn at random."""

from __future__ import annotations

import numpy as np

MAX_REDRAWS = 20  # a user who owns most of the catalogue keeps a few collisions rather than stall the step


def draw_negatives(rng: np.random.Generator, candidates: np.ndarray, rows: np.ndarray, n_targets: int) -> np.ndarray:
    """Uniform negatives that do not stand in the row of their target.

    Args:
        rng: source of randomness.
        candidates: item ids to draw from.
        rows: items of each row, padded with 0, (B, L).
        n_targets: negatives per row.

    Returns:
        Item ids, (B, n_targets).
    """
    drawn = rng.choice(candidates, (len(rows), n_targets))
    for _ in range(MAX_REDRAWS):
        collides = (drawn[:, :, None] == rows[:, None, :]).any(-1)
        if not collides.any():
            break
        drawn[collides] = rng.choice(candidates, int(collides.sum()))
    return drawn


def log_inclusion(frequency: np.ndarray, n_drawn: int, n_extra: int, n_candidates: int) -> np.ndarray:
    """Logarithm of the chance that items are in a step's catalogue.

    Args:
        frequency: share of all occurrences in training rows, by item, (U,).
        n_drawn: occurrences in the step.
        n_extra: further items drawn uniformly without replacement.
        n_candidates: how many these are drawn from.
    """
    missed = n_drawn * np.log1p(-np.minimum(frequency, 1 - 1e-9))
    missed = missed + np.log1p(-min(n_extra / max(n_candidates, 1), 1 - 1e-9))
    return np.log(-np.expm1(np.minimum(missed, -1e-12))).astype(np.float32)

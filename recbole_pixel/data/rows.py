"""Rows of training and evaluation, as positions in one flat array of items sorted by user and time.

Nothing is copied per row: a row is a start and a length, and is gathered when it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Ints = np.ndarray


def user_starts(users: Ints) -> Ints:
    """For each element of sorted ``users`` (n,), the position at which its user begins: int64 (n,)."""
    positions = np.arange(len(users))
    is_first = np.ones(len(users), dtype=bool)
    is_first[1:] = users[1:] != users[:-1]
    return np.maximum.accumulate(np.where(is_first, positions, 0))


@dataclass(frozen=True)
class Rows:
    """Windows on a flat array of items.

    Attributes:
        start: first position of each row's input, int64 (R,).
        length: number of inputs of each row, int64 (R,), at least 1. In a chunk each input but the last is followed by
            its target, so that targets are the window moved by one.
    """

    start: Ints
    length: Ints

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, index: Ints | slice) -> Rows:
        return Rows(self.start[index], self.length[index])


AnyRows = TypeVar("AnyRows", Rows, Ints)


def runs_of(targets: Ints) -> Rows:
    """Stretches of consecutive numbers in the sorted distinct ``targets`` (n,)."""
    firsts = np.flatnonzero(np.diff(targets, prepend=-2) != 1)
    return Rows(targets[firsts].astype(np.int64), np.diff(firsts, append=len(targets)))


def places_in(runs: Rows) -> Ints:
    """Every position in ``runs``, in their order: int64 (sum of lengths,)."""
    before = np.cumsum(runs.length) - runs.length
    return np.repeat(runs.start - before, runs.length) + np.arange(int(runs.length.sum()))


def chunk_targets(runs: Rows, max_length: int) -> Rows:
    """Training rows that have every target exactly once, cut from the newest of each run.

    Args:
        runs: positions of targets in the flat array; a run is one user's, and the element before it, too.
        max_length: targets per row.

    Returns:
        Rows whose inputs are ``start .. start + length - 1`` and whose targets are one further, those of a run in the
        order of time.
    """
    runs = runs[np.flatnonzero(runs.length > 0)]
    n_chunks = -(-runs.length // max_length)
    run = np.repeat(np.arange(len(runs)), n_chunks)
    newer = np.repeat(np.cumsum(n_chunks), n_chunks) - np.arange(len(run)) - 1
    end = (runs.start + runs.length)[run] - newer * max_length
    length = np.minimum(end - runs.start[run], max_length)
    return Rows(end - length - 1, length)


def newest_rows(rows: AnyRows, users: Ints, n_rows: int) -> AnyRows:
    """The last ``n_rows`` rows of each user; ``users`` (R,) is sorted, rows of a user are in the order of time."""
    ends = np.append(np.flatnonzero(np.diff(users)), len(users) - 1)
    from_end = np.repeat(ends, np.diff(np.append(-1, ends))) - np.arange(len(users))
    return rows[np.flatnonzero(from_end < n_rows)]


def gather_windows(items: Ints, start: Ints, length: Ints, max_length: int) -> Ints:
    """Windows of ``items``, padded on the right with 0: int64 (B, max_length).

    Args:
        items: the flat array, (n,).
        start: first positions, (B,).
        length: how many items each window takes, (B,); at most ``max_length``.
    """
    offset = np.arange(max_length)
    inside = offset < length[:, None]
    index = np.where(inside, start[:, None] + offset, 0)
    return np.where(inside, items[index], 0)


def expand_prefixes(rows: Rows, owner_start: Ints, max_length: int) -> tuple[Rows, Ints]:
    """RecBole's rows, one per target: every prefix of every chunk, reaching back to the user's first item.

    Args:
        rows: chunks.
        owner_start: where the user of each chunk begins in the flat array, (R,).
        max_length: a row keeps this many of the newest inputs.

    Returns:
        The rows, those of a chunk together, and the position of each row's target.
    """
    total = int(rows.length.sum())
    chunk = np.repeat(np.arange(len(rows)), rows.length)
    step = np.arange(total) - np.repeat(np.cumsum(rows.length) - rows.length, rows.length)
    target = rows.start[chunk] + step + 1
    start = np.maximum(owner_start[chunk], target - max_length)
    return Rows(start, target - start), target

"""How RecBole splits millions of users, learnt from a few: it splits users with as many rows alike."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from recbole_pixel.data.rows import Ints, Rows, places_in


class UserSplit:
    """Splits each user's targets as RecBole splits those of one user with as many.

    Args:
        runs: each user's targets, by user id: positions in columns sorted by user and time.
    """

    def __init__(self, runs: Rows) -> None:
        self.runs = runs
        self.user_of_length = np.zeros(int(runs.length.max(initial=0)) + 1, np.int64)
        self.user_of_length[runs.length] = np.arange(len(runs))
        self.lengths = np.flatnonzero(runs.length[self.user_of_length] == np.arange(len(self.user_of_length)))

    @cached_property
    def sample(self) -> Ints:
        """Positions of the targets of one user of each number of targets: what RecBole is to split."""
        return places_in(self.runs[np.sort(self.user_of_length[self.lengths])])

    def parts(self, found: list[Ints], times: np.ndarray) -> list[Rows]:
        """Each part's targets, a run per user, users in the order in which RecBole meets them.

        Args:
            found: positions that RecBole put in each part, of those in :attr:`sample`; a user's parts follow one
                another in time.
            times: of all interactions as RecBole orders them, (n,).
        """
        users = np.flatnonzero(self.runs.length > 0)
        users = users[np.argsort(times[self.runs.start[users]], kind="stable")]
        runs = self.runs[users]
        start, parts = runs.start, []
        for part in found:
            owners = np.searchsorted(self.runs.start, part, side="right") - 1
            sizes = np.bincount(self.runs.length[owners], minlength=len(self.user_of_length))
            parts.append(Rows(start, sizes[runs.length]))
            start = start + parts[-1].length
        return [part[np.flatnonzero(part.length > 0)] for part in parts]

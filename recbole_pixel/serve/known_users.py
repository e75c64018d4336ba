"""The users of a dataset, those that a model can be asked about, and what each consumed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from recbole_pixel.serve.histories import UserHistories
from recbole_pixel.serve.tokens import Tokens


class KnownUsers:
    """Users by token, a batch at a time.

    Args:
        tokens: of all users.
        histories: of each user id.
        needs_history: whether only users with a history can be asked about.
        at_once: users of a batch.

    Attributes:
        served: ids of those that can be asked about, (n,).
    """

    def __init__(self, tokens: Tokens, histories: UserHistories, needs_history: bool, at_once: int) -> None:
        self.tokens, self.histories, self._at_once = tokens, histories, at_once
        can = np.arange(len(histories.length)) > 0
        self._can = can & (histories.length > 0) if needs_history else can
        self.served = np.flatnonzero(self._can)

    def ids(self, users: object) -> np.ndarray:
        """Ids of the users of these tokens, (n,); of all that can be asked about, for None.

        Raises:
            LookupError: users are not known, or have no history.
        """
        if users is None:
            return self.served
        ids = self.tokens.ids(users)
        silent = ids[~self._can[ids]]
        if len(silent):
            raise LookupError(
                f"{len(silent)} of {len(ids)} users have no history that the model could read, e.g. "
                f"{self.tokens.of(silent[:3])}; name items instead: recommend_for"
            )
        return ids

    def batches(self, ids: np.ndarray) -> Iterator[tuple[np.ndarray, UserHistories]]:
        """Ids and histories, some users at a time."""
        for first in range(0, len(ids), self._at_once):
            some = ids[first : first + self._at_once]
            yield some, self.histories.of(some)

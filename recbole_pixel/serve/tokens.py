"""Users or items by their tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from recbole_pixel.config_files import nearest

COMPARED = 50_000  # tokens among which the nearest known one is looked for: more would take seconds


class Tokens:
    """The tokens of all users, or of all items, by RecBole's ids.

    Args:
        kind: ``user`` or ``item``, for errors.
        tokens: the token of each id; entry 0 is the padding, which has none.
    """

    def __init__(self, kind: str, tokens: Sequence[str]) -> None:
        self.kind = kind
        self.by_id = np.array([str(token) for token in tokens], dtype=object)
        self.known = {token: place for place, token in enumerate(self.by_id) if place}

    def __len__(self) -> int:
        return len(self.known)

    def all(self) -> list[str]:
        """Every token, in the order of the ids."""
        return list(self.by_id[1:])

    def of(self, ids: Iterable[int] | np.ndarray) -> list[str]:
        """The tokens of ``ids`` (n,)."""
        return list(self.by_id[np.asarray(ids, dtype=np.int64)])

    def ids(self, tokens: object) -> np.ndarray:
        """The ids of one token or of several, int64 (n,); numbers stand for the tokens that are written so.

        Raises:
            LookupError: tokens are not known; names how many, and what the first of them is nearest to.
            ValueError: there are none.
        """
        asked = [str(token) for token in listed(tokens)]
        unknown = [token for token in asked if token not in self.known]
        if unknown:
            some = list(self.known)[:COMPARED]
            raise LookupError(
                f"{len(unknown)} of {len(asked)} {self.kind}s are not among the {len(self)} that the dataset has, "
                f"e.g. {unknown[:3]}{nearest(unknown[0], some)}"
            )
        if not asked:
            raise ValueError(f"no {self.kind} was asked for; name at least one")
        return np.array([self.known[token] for token in asked], dtype=np.int64)


def histories_of(given: object) -> list[Iterable[object]]:
    """What each of several people consumed.

    Raises:
        TypeError: the history of one is given alone, or a token in the place of a history.
    """
    people = listed(given)
    for person in people:
        if isinstance(person, (str, bytes)) or not isinstance(person, Iterable):
            raise TypeError(
                f"{person!r} is given as the history of a person; expected a list of items for each, such as "
                f"[['a17', 'b4']] for one who consumed two"
            )
    return people  # type: ignore[return-value]


def listed(given: object) -> list[object]:
    """One token, or several, as a list."""
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        return [given]
    return list(given)

"""What a :class:`~recbole_pixel.serve.recommender.Recommender` answers."""

from __future__ import annotations

from typing import NamedTuple


class Recommendation(NamedTuple):
    """Items for a user, the best first.

    Attributes:
        user: their token; empty where a history was given instead of one.
        items: tokens; fewer than asked for where fewer were left to rank.
        scores: of these items, as the model scores them: the larger, the better, and no probabilities.
    """

    user: str
    items: list[str]
    scores: list[float]


class Neighbours(NamedTuple):
    """Items near an item, the nearest first.

    Attributes:
        item: its token, or the name of a new item.
        items: tokens.
        similarities: cosines with these items' vectors, -1 to 1.
    """

    item: str
    items: list[str]
    similarities: list[float]


class NewItemScore(NamedTuple):
    """Who would like an item that is in no catalogue, and what it is near.

    Attributes:
        name: of the new item.
        users: tokens, those with the highest scores first.
        scores: of these users; on the scale of :class:`Recommendation`.
        items: tokens of the nearest items of the catalogue, the nearest first.
        similarities: cosines with these items' vectors.
    """

    name: str
    users: list[str]
    scores: list[float]
    items: list[str]
    similarities: list[float]

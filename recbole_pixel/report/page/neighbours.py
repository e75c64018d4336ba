"""What is near some items: popular ones, middling ones, rare ones, and those that were held out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from recbole_pixel.serve.answers import Neighbours
from recbole_pixel.serve.recommender import Recommender

OF_KIND, NEAR = 2, 6
SEED = 13


class Near(NamedTuple):
    """An item with its neighbours.

    Attributes:
        n_consumed: how often it was, in training; None where it was held out.
        answer: the item, what is near, and the cosines.
    """

    n_consumed: int | None
    answer: Neighbours


def neighbours_of(recommender: Recommender, counts: np.ndarray, cold: np.ndarray) -> list[Near]:
    """Neighbours of a few items of each kind.

    Args:
        recommender: of the model.
        counts: how often each of its items was consumed in training, (items,).
        cold: tokens of items that were held out, (m,).

    Raises:
        NotImplementedError: the model has no vectors of items.
    """
    items = recommender.items
    chosen: list[tuple[int | None, str]] = [(int(counts[place]), items[place]) for place in chosen_items(counts)]
    some = np.random.default_rng(SEED).permutation(np.sort(cold))[:OF_KIND]
    chosen += [(None, str(token)) for token in some]
    if not chosen:
        return []
    found = recommender.similar([token for _, token in chosen], NEAR)
    return [Near(n_consumed, answer) for (n_consumed, _), answer in zip(chosen, found, strict=True)]


def chosen_items(counts: np.ndarray) -> list[int]:
    """Two items each of the most, of middling and of the least consumed tenth, those consumed at all: their places."""
    seen = np.flatnonzero(counts)
    order = seen[np.argsort(-counts[seen], kind="stable")]
    tenth, rng = max(OF_KIND, len(order) // 10), np.random.default_rng(SEED)
    middle = max(0, len(order) // 2 - tenth // 2)
    parts = (order[:tenth], order[middle : middle + tenth], order[-tenth:])
    drawn = [int(place) for part in parts for place in rng.permutation(part)[:OF_KIND]]
    return list(dict.fromkeys(drawn))


def tokens_in(found: Iterable[Near]) -> Iterable[str]:
    """Of all items that are shown."""
    for near in found:
        yield from (near.answer.item, *near.answer.items)

"""Answers as pages that open offline."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from recbole_pixel.serve.answers import Neighbours, NewItemScore, Recommendation
from recbole_pixel.serve.page.faces import Covers
from recbole_pixel.serve.page.rendering import rendered
from recbole_pixel.serve.page.thumbnails import thumbnail_uri
from recbole_pixel.serve.recommender import Recommender
from recbole_pixel.serve.stored_form import Picture, file_of

SHOWN = 20  # items of a history


class _History(NamedTuple):
    items: list[str]  # the newest first
    more: int  # older ones that are not shown


def recommendations_page(recommender: Recommender, answers: Sequence[Recommendation]) -> str:
    """Each user's history and what is recommended to them, as pictures."""
    histories = []
    for answer in answers:
        newest = recommender.history(answer.user)[::-1]
        histories.append(_History(newest[:SHOWN], max(0, len(newest) - SHOWN)))
    shown = chain.from_iterable([*history.items, *one.items] for history, one in zip(histories, answers, strict=True))
    return rendered(
        "recommendations.html",
        title="Recommendations",
        about=f"{len(answers)} users, ranked by {recommender.name}. Scores order items; they are no probabilities.",
        covers=Covers(recommender.faces, shown),
        answers=list(zip(answers, histories, strict=True)),
    )


def neighbours_page(recommender: Recommender, answers: Sequence[Neighbours]) -> str:
    """Items, and what is near them."""
    shown = chain.from_iterable([answer.item, *answer.items] for answer in answers)
    return rendered(
        "neighbours.html",
        title="Similar items",
        about=f"Cosines of the items' vectors in {recommender.name}.",
        covers=Covers(recommender.faces, shown),
        answers=answers,
    )


def new_items_page(recommender: Recommender, answers: Sequence[NewItemScore], images: Sequence[Picture] | None) -> str:
    """New items, what they are near, and who would like them.

    Args:
        recommender: gave the answers.
        answers: to be shown.
        images: pictures of the same items, or None where there are none.
    """
    pictures = [None] * len(answers) if images is None else [thumbnail_uri(file_of(image)) for image in images]
    return rendered(
        "new_items.html",
        title="New items",
        about=f"Items that {recommender.name} was not trained on.",
        covers=Covers(recommender.faces, chain.from_iterable(answer.items for answer in answers)),
        answers=answers,
        pictures=pictures,
    )

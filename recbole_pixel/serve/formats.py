"""Answers as JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from recbole_pixel.serve.answers import Neighbours, NewItemScore, Recommendation

Answer = Recommendation | Neighbours | NewItemScore
COLUMNS: dict[type, tuple[str, ...]] = {
    Recommendation: ("user", "rank", "item", "score"),
    Neighbours: ("item", "rank", "neighbour", "similarity"),
    NewItemScore: ("name", "kind", "rank", "token", "value"),
}


def as_json(answers: Iterable[Answer]) -> str:
    """A list of objects with the names of the answers' attributes."""
    return json.dumps([answer._asdict() for answer in answers], ensure_ascii=False, indent=1) + "\n"


def as_csv(answers: Sequence[Answer]) -> str:
    """A line for each user and item, or for each two items, with a header; ranks begin at 1; of no answers, nothing."""
    if not answers:
        return ""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS[type(answers[0])])
    for answer in answers:
        writer.writerows(_lines(answer))
    return buffer.getvalue()


def _lines(answer: Answer) -> Iterator[tuple[Any, ...]]:
    if isinstance(answer, NewItemScore):
        for kind, tokens, values in (
            ("user", answer.users, answer.scores),
            ("item", answer.items, answer.similarities),
        ):
            yield from ((answer.name, kind, *line) for line in _ranked(tokens, values))
    elif isinstance(answer, Recommendation):
        yield from ((answer.user, *line) for line in _ranked(answer.items, answer.scores))
    else:
        yield from ((answer.item, *line) for line in _ranked(answer.items, answer.similarities))


def _ranked(tokens: Sequence[str], values: Sequence[float]) -> Iterator[tuple[int, str, float]]:
    return ((rank, *pair) for rank, pair in enumerate(zip(tokens, values, strict=True), 1))

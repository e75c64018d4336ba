"""``recbole-pixel new-item``: who would like an item that is in no catalogue, and what it is near."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from recbole_pixel.commands.serving import add_answer_options, add_checkpoint_options, loaded, write_answers


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "new-item",
        help="who would like an item never seen, and what it is near, from a checkpoint",
        description="Scores items by their pictures, or texts, alone: the users who would like them best, and the "
        "items of the catalogue that they are near. A picture goes the way of the catalogue's own.",
        allow_abbrev=False,
    )
    add_checkpoint_options(parser)
    parser.add_argument("--image", action="append", type=Path, help="a picture; again for further items")
    parser.add_argument("--text", action="append", help="the text of the same item, where the model reads texts")
    add_answer_options(parser)
    parser.set_defaults(func=run)


def run(namespace: argparse.Namespace) -> int:
    """Scores, and writes the answers: 0."""
    if not namespace.image and not namespace.text:
        raise ValueError("no new item was given: name its picture, --image x.jpg, or its text, --text '...'")
    recommender = loaded(namespace)
    answers = recommender.score_new(namespace.image, namespace.text, topk=namespace.topk)

    def page() -> str:
        from recbole_pixel.serve.pages import new_items_page

        return new_items_page(recommender, answers, namespace.image)

    write_answers(answers, namespace, page)
    return 0

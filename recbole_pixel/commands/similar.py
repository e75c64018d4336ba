"""``recbole-pixel similar``: the nearest neighbours of items, from a checkpoint."""

from __future__ import annotations

import argparse
from typing import Any

from recbole_pixel.commands.serving import add_answer_options, add_checkpoint_options, loaded, tokens_in, write_answers


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "similar",
        help="the nearest neighbours of items, from a checkpoint",
        description="The items whose vectors have the highest cosine with those of the given ones.",
        allow_abbrev=False,
    )
    add_checkpoint_options(parser)
    parser.add_argument("--items", required=True, help="a,b,c, or @FILE with an item a line")
    add_answer_options(parser)
    parser.set_defaults(func=run)


def run(namespace: argparse.Namespace) -> int:
    """Finds neighbours, and writes them: 0."""
    items = tokens_in(namespace.items, "--items")
    recommender = loaded(namespace)
    answers = recommender.similar(items, namespace.topk)

    def page() -> str:
        from recbole_pixel.serve.pages import neighbours_page

        return neighbours_page(recommender, answers)

    write_answers(answers, namespace, page)
    return 0

"""``recbole-pixel recommend``: the best items of users, from a checkpoint."""

from __future__ import annotations

import argparse
from typing import Any

from recbole_pixel.commands.serving import add_answer_options, add_checkpoint_options, loaded, tokens_in, write_answers


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "recommend",
        help="the best items of users, from a checkpoint",
        description="Ranks items for users by a trained model; as a page, with histories and items as pictures.",
        allow_abbrev=False,
    )
    add_checkpoint_options(parser)
    parser.add_argument("--users", default="all", help="1,2,3, or @FILE with a user a line, or all (default: all)")
    parser.add_argument("--candidates", help="rank these items alone: a,b,c, or @FILE (default: all)")
    parser.add_argument("--include_history", action="store_true", help="rank what users consumed, too")
    add_answer_options(parser)
    parser.set_defaults(func=run)


def run(namespace: argparse.Namespace) -> int:
    """Recommends, and writes the answers: 0."""
    users = None if namespace.users == "all" else tokens_in(namespace.users, "--users")
    candidates = None if namespace.candidates is None else tokens_in(namespace.candidates, "--candidates")
    recommender = loaded(namespace)
    answers = recommender.recommend(users, namespace.topk, not namespace.include_history, candidates)

    def page() -> str:
        from recbole_pixel.serve.pages import recommendations_page

        return recommendations_page(recommender, answers)

    write_answers(answers, namespace, page)
    return 0

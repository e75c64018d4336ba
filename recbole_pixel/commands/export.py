"""``recbole-pixel export``: vectors of items and users, or an index of the items', from a checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from recbole_pixel.commands.serving import add_checkpoint_options, loaded

WHAT = ("item_vectors", "user_vectors", "index")
FORMS = ("npy", "parquet", "faiss", "usearch")


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "export",
        help="vectors of items and users, or an index of the items', from a checkpoint",
        description="Writes vectors whose products are the model's scores, or an index that is searched by a user's "
        "vector, and the tokens of the rows beside, in OUTPUT.tokens.txt.",
        allow_abbrev=False,
    )
    add_checkpoint_options(parser)
    parser.add_argument("--what", choices=WHAT, default="item_vectors", help="default: %(default)s")
    parser.add_argument("--output", required=True, type=Path, help="file to write")
    parser.add_argument(
        "--format",
        choices=FORMS,
        help="default: as the ending of --output says, else npy of vectors, faiss of an index",
    )
    parser.set_defaults(func=run)


def run(namespace: argparse.Namespace) -> int:
    """Exports, and prints where to: 0."""
    from recbole_pixel.serve.exporting import form_of, tokens_path

    form_of(namespace.what, namespace.output, namespace.format)  # before minutes of loading
    path = loaded(namespace).export(namespace.what, namespace.output, namespace.format)
    print(f"{path}: {namespace.what}; the tokens of its rows: {tokens_path(path)}")
    return 0

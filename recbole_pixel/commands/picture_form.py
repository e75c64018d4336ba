"""The options that say in which form pictures are stored."""

from __future__ import annotations

import argparse


def add_picture_form(parser: argparse.ArgumentParser) -> None:
    """Adds ``--size``, ``--fit``, ``--keep-original`` and ``--workers``."""
    parser.add_argument("--size", type=int, default=224, help="side of the stored squares in pixels (default 224)")
    parser.add_argument(
        "--fit",
        choices=("squash", "crop", "pad"),
        default="squash",
        help="how other aspect ratios become square (default squash)",
    )
    parser.add_argument("--keep-original", action="store_true", help="store the files as they are")
    parser.add_argument("--workers", type=int, help="threads that decode (default: one per core)")

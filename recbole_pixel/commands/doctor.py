"""``recbole-pixel doctor``: versions, devices, what is degraded and how to mend it."""

from __future__ import annotations

from typing import Any

from recbole_pixel.doctor import command


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "doctor",
        help="versions, devices, what is degraded and how to mend it; exit code 1 if it does not run",
        description="Looks at the installation and the machine, at a dataset if one is named, and says what to do.",
    )
    command.add_arguments(parser)
    parser.set_defaults(func=command.run)

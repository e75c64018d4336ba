"""What the commands of a trained model share: naming its checkpoint, users and items, and writing answers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recbole_pixel.serve.recommender import Recommender

FORMATS = ("json", "csv", "html")


def add_checkpoint_options(parser: argparse.ArgumentParser) -> None:
    """Adds what every such command reads."""
    parser.add_argument("--checkpoint", "-c", required=True, type=Path, help="as `recbole-pixel train` prints it")
    parser.add_argument("--data_path", type=Path, help="folder of the dataset's folder (default: as in training)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: an accelerator if there is one)")
    parser.add_argument(
        "--history",
        choices=("all", "train"),
        default="all",
        help="what is known of users: all interactions, or train, those before their test targets (default: all)",
    )
    parser.add_argument("--trust", action="store_true", help="open RecBole's own checkpoints: pickles, which run code")
    parser.set_defaults(takes_settings=True)


def add_answer_options(parser: argparse.ArgumentParser) -> None:
    """Adds how many answers there are, and how they are written."""
    parser.add_argument("--topk", type=int, default=10, help="answers for each (default: %(default)s)")
    parser.add_argument("--format", choices=FORMATS, help="default: as the ending of --output says, else json")
    parser.add_argument("--output", type=Path, help="file to write (default: print)")


def loaded(namespace: argparse.Namespace) -> Recommender:
    """The recommender in ``--checkpoint``; further ``--key=value`` are settings in the place of the run's."""
    from recbole_pixel import load
    from recbole_pixel.commands.train import parse_settings

    return load(
        namespace.checkpoint,
        data_path=namespace.data_path,
        device=namespace.device,
        history=namespace.history,
        settings=parse_settings(namespace.settings),
        trust=namespace.trust,
    )


def tokens_in(text: str, option: str) -> list[str]:
    """Tokens between commas, or of a file behind an ``@``, one a line.

    Raises:
        ValueError: there are none.
        FileNotFoundError: there is no such file.
    """
    if text.startswith("@"):
        path = Path(text[1:])
        if not path.is_file():
            raise FileNotFoundError(f"{option} names no file: {path}")
        found = path.read_text(encoding="utf-8-sig").splitlines()
    else:
        found = text.split(",")
    tokens = [token.strip() for token in found if token.strip()]
    if not tokens:
        raise ValueError(f"{option} is {text!r}, which names nothing; expected tokens between commas, or @FILE")
    return tokens


def write_answers(answers: Sequence[Any], namespace: argparse.Namespace, page: Callable[[], str]) -> None:
    """Writes answers as ``--format`` and ``--output`` say.

    Args:
        answers: of one kind.
        namespace: of the command.
        page: makes HTML of them.
    """
    from recbole_pixel.serve.formats import as_csv, as_json

    ending = namespace.output.suffix.removeprefix(".") if namespace.output else ""
    form = namespace.format or (ending if ending in FORMATS else "json")
    text = page() if form == "html" else as_csv(answers) if form == "csv" else as_json(answers)
    if namespace.output is None:
        sys.stdout.write(text)
        return
    namespace.output.parent.mkdir(parents=True, exist_ok=True)
    namespace.output.write_text(text, encoding="utf-8")
    print(f"{namespace.output}: {len(answers)} answers as {form}")

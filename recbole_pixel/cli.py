"""The command line: ``recbole-pixel COMMAND`` and ``run_recbole_pixel.py``."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module

from recbole_pixel import __version__
from recbole_pixel.terminal import harmless, harmless_output

COMMANDS = (
    "train", "report", "compare", "ablate", "cold", "tune", "recommend", "similar", "new-item", "export", "convert",
    "images", "features", "encoders", "models", "demo", "doctor",
)  # fmt: skip
"""Each in a module of its own, in ``recbole_pixel.commands``."""

EXPECTED = (ValueError, LookupError, OSError, ImportError, MemoryError, NotImplementedError, FloatingPointError)
"""Errors that speak to the user: shown in one line. Others are defects, shown whole."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code: 0 done, 1 a check found something, 2 an error, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    asked = next((entry for entry in arguments if not entry.startswith("-")), "")
    parser = _parser((asked,) if asked in COMMANDS else COMMANDS)
    namespace, rest = parser.parse_known_args([entry for entry in arguments if entry != "--debug"])
    if rest and not getattr(namespace, "takes_settings", False):
        parser.error(f"unrecognised arguments: {' '.join(rest)}")
    namespace.settings, namespace.debug = rest, debug
    return _guarded(lambda: namespace.func(namespace), debug)


def train_main(argv: Sequence[str] | None = None) -> int:
    """``run_recbole_pixel.py``: the ``train`` command."""
    return main(["train", *(sys.argv[1:] if argv is None else argv)])


def _parser(commands: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser of ``commands``; of no other the module is imported, as it may want what is not installed."""
    parser = argparse.ArgumentParser(
        prog="recbole-pixel", description="Recommendation from pictures, with RecBole.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"recbole-pixel {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in commands:
        import_module(f"recbole_pixel.commands.{name.replace('-', '_')}").add_parser(subparsers)
    return parser


def _guarded(run: Callable[[], int], debug: bool) -> int:
    try:
        with harmless_output():
            return run()
    except KeyboardInterrupt as stopped:
        print("interrupted", file=sys.stderr)
        return getattr(stopped, "code", 130)  # that of a run that SIGTERM stopped
    except EXPECTED as error:
        if debug:
            traceback.print_exc()
        else:
            message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
            said = harmless(" ".join(message.split())) or type(error).__name__
            print(f"recbole-pixel: error: {said}", file=sys.stderr)
        return 2

"""One line of an Amazon file as a record: JSON, or the Python dictionaries of the 2014 edition."""

from __future__ import annotations

import ast
import json
import warnings
from typing import Any

Record = dict[str, Any]

N_SHOWN = 40
"""Characters of a line shown in a message."""


def parse_record(line: bytes) -> Record:
    """The record on a line.

    Raises:
        ValueError: the line holds none; the message says what it holds.
    """
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} of the line is not UTF-8 text") from None
    try:
        record = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        record = _literal(text, error)
    if not isinstance(record, dict):
        raise ValueError(f"expected a record in braces, found {_shown(text)}")
    return record


def _literal(text: str, json_error: Exception) -> Any:
    """What a Python literal means, without running it: part of the 2014 edition was written by `print`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # "\\d" in a text is spelt as it was meant
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        # A Python dictionary quotes its first key by an apostrophe, JSON never does.
        why = error if text[1:].lstrip()[:1] == "'" else json_error
        reason = why.msg if isinstance(why, (json.JSONDecodeError, SyntaxError)) else str(why)
        raise ValueError(f"neither JSON nor a Python dictionary ({reason}): {_shown(text)}") from None


def _shown(text: str) -> str:
    return repr(text if len(text) <= N_SHOWN else f"{text[:N_SHOWN]}...")

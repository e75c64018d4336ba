"""Other people's words on a terminal: titles, tokens and file names may hold the codes that command it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters but for tab and line feed, and the signs that turn the direction of writing round."""


def harmless(text: str) -> str:
    """``text`` with every code that commands a terminal written out, such as ``\\x1b``."""
    return _COMMANDS.sub(lambda found: ascii(found[0])[1:-1], text)


class _HarmlessStream:
    """A stream that writes :func:`harmless` text."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes it; returns how many characters of ``text`` were."""
        self._stream.write(harmless(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Writes each."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def harmless_output() -> Iterator[None]:
    """Inside, what is printed onto a terminal is harmless; into a file or a pipe it goes as it is."""
    stream = sys.stdout
    if not stream.isatty():
        yield
        return
    sys.stdout = _HarmlessStream(stream)
    try:
        yield
    finally:
        sys.stdout = stream

"""Reads a JSON object of vectors, ``{"token": [numbers], ...}``, of any size in little memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np

PIECE = 1 << 20  # characters read at a time
LONGEST = 1 << 26  # characters of one value: what is longer is not a vector but a broken file
_DECODER = json.JSONDecoder()


def read_vectors(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The tokens and arrays of a JSON object, in the order of the file.

    No more than one entry and a piece of the file are in memory.

    Raises:
        ValueError: not an object of arrays of numbers, or cut short; says where.
    """
    with open(path, encoding="utf-8-sig") as stream:
        text = _Text(stream, path)
        text.expect("{")
        if text.next() == "}":
            return
        while True:
            token = text.value()
            if not isinstance(token, str):
                raise text.error(f"expected an item token in quotes, found {str(token)[:40]!r}")
            text.expect(":")
            yield token, _numbers(text, token)
            if text.next() == "}":
                return
            text.expect(",")


def _numbers(text: _Text, token: str) -> np.ndarray:
    value = text.value()
    try:
        array = np.array([] if value is None else value)
    except ValueError:  # lists of different lengths
        array = np.array([])
    if not isinstance(value, list) or array.dtype.kind not in "fi" or not array.size:
        raise text.error(f"item {token!r} has {str(value)[:40]!r}, expected a list of numbers")
    return array


class _Text:
    """The part of a file that is being read."""

    def __init__(self, stream: TextIO, path: Path) -> None:
        self.stream, self.path = stream, path
        self.buffer, self.at, self.passed = "", 0, 0

    def next(self) -> str:
        """The next character that is not blank, which is not consumed; "" at the end of the file."""
        while True:
            while self.at < len(self.buffer):
                if not self.buffer[self.at].isspace():
                    return self.buffer[self.at]
                self.at += 1
            if not self._read(PIECE):
                return ""

    def expect(self, character: str) -> None:
        """Consumes a character.

        Raises:
            ValueError: another one comes, or none.
        """
        found = self.next()
        if found != character:
            raise self.error(f"expected {character!r}, found {found!r}" if found else "it is cut short")
        self.at += 1

    def value(self) -> Any:
        """Consumes a string or a list and returns it; reads on until it is whole."""
        if self.next() not in ('"', "["):
            raise self.error(f"expected a string or a list, found {self.buffer[self.at : self.at + 20]!r}")
        while True:
            try:
                found, self.at = _DECODER.raw_decode(self.buffer, self.at)
                return found
            except json.JSONDecodeError as error:
                n_waiting = len(self.buffer) - self.at
                # Twice as much each time: a value is not parsed again for each piece of it.
                if n_waiting > LONGEST or not self._read(max(PIECE, n_waiting)):
                    raise self.error(f"{error.msg}, or it is cut short") from error

    def error(self, reason: str) -> ValueError:
        """An error that says where it was met."""
        return ValueError(
            f"{self.path}, character {self.passed + self.at}: {reason}; expected an object of vectors such as "
            f'{{"i1": [0.1, 0.2], "i2": [0.3, 0.4]}}'
        )

    def _read(self, n_characters: int) -> bool:
        more = self.stream.read(n_characters)
        self.passed += self.at
        self.buffer, self.at = self.buffer[self.at :] + more, 0
        return bool(more)

"""Results of runs, one JSON line each, so that an interrupted benchmark goes on where it stopped."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO


def print_json(entry: Mapping[str, Any]) -> None:
    """Prints a result as it is kept."""
    print(json.dumps(entry), flush=True)


class KeptRuns:
    """Runs in a file of JSON lines.

    A line that was torn because its writer was killed is no result: it is not read, and cut off before the next one is
    written. What was made now reads as it will when it comes from the file.

    Args:
        path: the file; made when the first result comes.
        keys: names of the entries that tell runs apart.
        say: told of each result that is made.

    Raises:
        ValueError: a whole line of the file is no result.
    """

    def __init__(
        self, path: Path, keys: tuple[str, ...], say: Callable[[Mapping[str, Any]], None] = print_json
    ) -> None:
        self.path, self.keys, self.say = path, keys, say
        lines = _whole_lines(path.read_bytes()).splitlines() if path.is_file() else []
        entries = [self._read(number, line) for number, line in enumerate(lines, 1)]
        self.entries = {tuple(entry[key] for key in keys): entry for entry in entries}

    def _read(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            entry = json.loads(line)
            missing = [key for key in self.keys if key not in entry]
        except (ValueError, TypeError) as error:
            raise ValueError(f"{self.path}, line {number} is no result ({error}); remove that line") from error
        if missing:
            raise ValueError(
                f"{self.path}, line {number} has no {missing[0]!r}: another command keeps its results there"
            )
        return entry

    def get(self, *key: Any) -> dict[str, Any] | None:
        """The run of that key, or None."""
        return self.entries.get(key)

    def forget(self, *key: Any) -> None:
        """Lets the run of that key be made anew; the new line in the file counts then."""
        self.entries.pop(key, None)

    def run(self, key: tuple[Any, ...], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The run of ``key``: kept, or made now and kept."""
        if key not in self.entries:
            line = json.dumps({**dict(zip(self.keys, key, strict=True)), **make()})
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as stream:
                _append(stream, line.encode() + b"\n")
            self.entries[key] = json.loads(line)
            self.say(self.entries[key])
        return self.entries[key]


def _whole_lines(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]


def _append(stream: BinaryIO, line: bytes) -> None:
    """Writes a line behind the last whole one; nobody else writes meanwhile, so what is torn belongs to the dead."""
    fcntl.flock(stream, fcntl.LOCK_EX)
    stream.seek(0)
    content = stream.read()
    whole = len(_whole_lines(content))
    if whole < len(content):
        stream.truncate(whole)
    stream.write(line)
    stream.flush()
    os.fsync(stream.fileno())

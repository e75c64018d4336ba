"""Results of runs, one JSON line each, so that an interrupted benchmark goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


class KeptRuns:
    """Runs in a file of JSON lines.

    Args:
        path: the file; made when the first result comes.
        keys: names of the entries that tell runs apart.
    """

    def __init__(self, path: Path, keys: tuple[str, ...]) -> None:
        self.path, self.keys = path, keys
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        entries = [json.loads(line) for line in lines]
        self.entries = {tuple(entry[key] for key in keys): entry for entry in entries}

    def get(self, *key: Any) -> dict[str, Any] | None:
        """The run of that key, or None."""
        return self.entries.get(key)

    def run(self, key: tuple[Any, ...], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The run of ``key``: kept, or made now and kept."""
        if key not in self.entries:
            entry = {**dict(zip(self.keys, key, strict=True)), **make()}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(entry) + "\n")
            self.entries[key] = entry
            print(json.dumps(entry), flush=True)
        return self.entries[key]

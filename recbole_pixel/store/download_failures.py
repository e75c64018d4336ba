"""The pictures that could not be fetched, as JSON lines beside the store."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from recbole_pixel.store.download_outcome import PERMANENT, Failure, Job
from recbole_pixel.store.durable import beside, sync_folder


class FailureLog:
    """Appends a line for each item while a download runs; the last line of an item counts.

    A line is an object with `item`, `url` (of the items' table), `asked` (after redirects), `reason`, `detail`,
    `tries` and `time` (UTC).

    Args:
        path: the file; made with its first line.

    Attributes:
        permanent: item -> (URL, reason) of what earlier runs found to be gone for good.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.permanent: dict[str, tuple[str, str]] = {}
        for _, line in self._lines():
            if line["reason"] in PERMANENT:
                self.permanent[line["item"]] = line["url"], line["reason"]
            else:
                self.permanent.pop(line["item"], None)

    def __enter__(self) -> FailureLog:
        self._stream = open(self.path, "ab", buffering=0)
        if self._stream.tell() and not self._ends_in_newline():
            self._stream.write(b"\n")  # a run that was killed while it wrote: its torn line stays alone
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        if not self.path.stat().st_size:
            self.path.unlink()

    def add(self, job: Job, failure: Failure) -> None:
        """Notes a failure for each item of a job."""
        facts: dict[str, Any] = {"url": job.url, "asked": job.asked, "reason": failure.reason, "detail": failure.detail}
        facts |= {"tries": job.n_tries, "time": datetime.now(timezone.utc).isoformat(timespec="seconds")}
        lines = [json.dumps({"item": token, **facts}) + "\n" for token in job.tokens]
        self._stream.write("".join(lines).encode())

    def compact(self, is_failed: Callable[[str], bool]) -> None:
        """Leaves the last line of each item for which `is_failed(item)` holds, by an atomic replacement."""
        last = {line["item"]: place for place, line in self._lines()}
        temporary = beside(self.path, ".tmp")
        with open(self.path, "rb") as old, open(temporary, "wb") as new:
            for place in sorted(last.values()):
                old.seek(place)
                raw = old.readline()
                if is_failed(json.loads(raw)["item"]):
                    new.write(raw)
            new.flush()
            os.fsync(new.fileno())
        os.replace(temporary, self.path)
        sync_folder(self.path.parent)

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Where each whole line begins, and what it says."""
        if not self.path.exists():
            return
        with open(self.path, "rb") as stream:
            place = 0
            for raw in stream:
                try:
                    line = json.loads(raw)
                    is_whole = all(isinstance(line[key], str) for key in ("item", "url", "reason"))
                except (ValueError, KeyError, TypeError):
                    is_whole = False
                if is_whole and raw.endswith(b"\n"):
                    yield place, line
                place += len(raw)

    def _ends_in_newline(self) -> bool:
        with open(self.path, "rb") as stream:
            stream.seek(-1, os.SEEK_END)
            return stream.read() == b"\n"

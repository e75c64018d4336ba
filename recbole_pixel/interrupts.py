"""Ctrl+C and SIGTERM as requests: what runs comes to a point where it can stop, and stops there."""

from __future__ import annotations

import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

ONE_REQUEST = 1.0  # seconds: a terminal and a launcher may both pass on one Ctrl+C
NUMBERS = (signal.SIGINT, signal.SIGTERM)


class InterruptedRunError(KeyboardInterrupt):
    """A run stopped because it was asked to.

    Args:
        number: of the signal.
        folder: where its state lies, to go on from; None where none was kept.
        told: what to tell the user of that state.
    """

    def __init__(self, number: int, folder: Path | None, told: str) -> None:
        super().__init__(told)
        self.number, self.folder = number, folder

    @property
    def code(self) -> int:
        """The exit code of a process that a signal ended, as shells have it."""
        return 128 + self.number


class Interrupts:
    """Within it, a first Ctrl+C or SIGTERM is noted, and a second Ctrl+C interrupts at once.

    It can only listen in the main thread, and not to what whoever started the process told it to ignore.

    Args:
        speaks: whether to say on the standard error that the request was heard.

    Attributes:
        number: of the signal that asked; None as long as none did.
    """

    def __init__(self, speaks: bool = True) -> None:
        self.speaks = speaks
        self.number: int | None = None
        self._when = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in NUMBERS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def _heard(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        if self.number is None:
            self.number, self._when = number, now
            if self.speaks:
                print("stopping behind this step; Ctrl+C again stops at once", file=sys.stderr, flush=True)
        elif number == signal.SIGINT and now - self._when > ONE_REQUEST:
            self.__exit__()
            raise KeyboardInterrupt

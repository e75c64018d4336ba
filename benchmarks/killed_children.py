"""Processes that do some work and are killed at it, of which nothing is left in the one that kills them.

They are forked from a server that has only imported what they need, not from the process that kills them: a fork shares
its semaphores with its parent, and one that is killed while it holds tqdm's lock would never give it back.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from tqdm import tqdm

FILE_EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
LONGEST = 300.0  # seconds; one that takes longer shows its stack, and ends

_context = multiprocessing.get_context("forkserver")


def imported_before(*modules: str) -> None:
    """Names what the server imports, so that its children need not; without effect once there was a child."""
    _context.set_forkserver_preload(list(modules))


class Child:
    """A process that calls ``work``.

    Args:
        work: a function of a module.
        arguments: its own, which can be pickled.
        at_event: before which of its file events it kills itself, from 1; None for none.
    """

    def __init__(self, work: Callable[..., object], *arguments: Any, at_event: int | None = None) -> None:
        self._heard, told = _context.Pipe(duplex=False)
        self._process = _context.Process(target=_called, args=(told, at_event, work, arguments))
        self._process.start()
        told.close()
        if self._heard.poll(LONGEST):  # it has begun, or has ended before
            self._next()

    def killed_after(self, seconds: float) -> bool:
        """Whether it had not ended ``seconds`` after its work began; it is killed then."""
        time.sleep(seconds)
        self._process.kill()
        return self.was_killed()

    def was_killed(self) -> bool:
        """Waits for its end: False if it came to the end of its work.

        Raises:
            RuntimeError: it failed, or took longer than LONGEST.
        """
        self._process.join(2 * LONGEST)
        code = self._process.exitcode
        if code not in (0, -signal.SIGKILL):
            raise RuntimeError(f"a child that was to be killed failed by itself, with exit code {code}; see above")
        return code != 0

    def result(self) -> Any:
        """What its work returned.

        Raises:
            RuntimeError: it failed.
        """
        answer = self._next()
        if self.was_killed():
            raise RuntimeError("a child that nobody was to kill was killed")
        return answer

    def _next(self) -> Any:
        try:
            return self._heard.recv()
        except EOFError:
            return None


def file_events_of(work: Callable[..., object], *arguments: Any) -> tuple[int, float]:
    """How many file events ``work`` has, and the seconds it takes; in a child, as a hook stays for good."""
    events, seconds = Child(_counted, work, arguments).result()
    return events, seconds


def _called(told: Connection, at_event: int | None, work: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    faulthandler.dump_traceback_later(LONGEST, exit=True)
    tqdm.set_lock(threading.RLock())  # the usual one is a semaphore of the system, which the killed leave behind
    told.send("begun")
    if at_event is not None:
        sys.addaudithook(_Killer(at_event))
    told.send(work(*arguments))


class _Killer:
    """An audit hook that ends the process before its n-th file event."""

    def __init__(self, n: int) -> None:
        self.left = n

    def __call__(self, event: str, arguments: object) -> None:
        if event in FILE_EVENTS:
            self.left -= 1
            if self.left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


def _counted(work: Callable[..., object], arguments: tuple[Any, ...]) -> tuple[int, float]:
    seen = [0]

    def count(event: str, _: object) -> None:
        seen[0] += event in FILE_EVENTS

    sys.addaudithook(count)
    began = time.perf_counter()
    work(*arguments)
    return seen[0], time.perf_counter() - began

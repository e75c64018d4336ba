"""Starts one command several times on this machine, as ranks of one run; none of them outlives the others."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import IO

from recbole_pixel.interrupts import ONE_REQUEST

GRACE = 5.0  # seconds in which the other ranks may end by themselves, and say why, after one has failed
POLL = 0.1
SAID = (2, 130, 143)
"""Exit codes of our command that all ranks have for one reason: wrong settings or data, Ctrl+C, SIGTERM."""


def launch(command: Sequence[str], n_ranks: int, told: Mapping[str, str] | None = None) -> int:
    """Runs ``command`` in ``n_ranks`` processes; returns 0, or the exit code of one that failed.

    The first rank writes to this process's output. What another says is shown if it failed before the first did.
    Ctrl+C and SIGTERM are passed on, and the ranks left to end as they will; a second Ctrl+C ends them.
    Several machines need ``torchrun``.

    Args:
        command: a program and its arguments.
        n_ranks: how many processes.
        told: further variables of their environment.

    Raises:
        ValueError: ``n_ranks`` is less than 1, or this process is a rank itself.
    """
    if n_ranks < 1:
        raise ValueError(f"--nproc is {n_ranks}; expected at least 1")
    if "RANK" in os.environ:
        raise ValueError("torchrun started this command in several processes already; leave --nproc out")
    ranks: list[subprocess.Popen[bytes]] = []
    with ExitStack() as files, _passing_on(ranks):
        said = [files.enter_context(tempfile.TemporaryFile()) for _ in range(1, n_ranks)]
        try:
            for environment, output in zip(rank_environments(n_ranks), (None, *said), strict=True):
                environment |= told or {}
                ranks.append(subprocess.Popen(list(command), env=environment, stdout=output, stderr=output))
            code, failed = _wait(ranks)
            if failed:
                _show(ranks, failed, said[failed - 1])
        finally:
            _end(ranks)
    return code


def rank_environments(n_ranks: int) -> list[dict[str, str]]:
    """Our environment, and who each rank is; cores are divided among ranks unless OMP_NUM_THREADS is set."""
    common = {
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // n_ranks)),
        **os.environ,
        "WORLD_SIZE": str(n_ranks),
        "LOCAL_WORLD_SIZE": str(n_ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
    }
    return [{**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(n_ranks)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(ranks: Sequence[subprocess.Popen[bytes]]) -> tuple[int, int]:
    """The exit code of the run, 0 when all ranks have ended well, and the number of the rank that failed first."""
    while True:
        codes = [rank.poll() for rank in ranks]
        for number, code in enumerate(codes):
            if code:
                _wait_until(ranks, time.monotonic() + GRACE)
                return _exit_code(code), number
        if None not in codes:
            return 0, 0
        time.sleep(POLL)


def _wait_until(ranks: Sequence[subprocess.Popen[bytes]], end: float) -> None:
    while time.monotonic() < end and any(rank.poll() is None for rank in ranks):
        time.sleep(POLL)


def _exit_code(code: int) -> int:
    """As a shell says it: 128 and the signal's number of a process that was killed."""
    return code if code > 0 else 128 - code


def _show(ranks: Sequence[subprocess.Popen[bytes]], number: int, said: IO[bytes]) -> None:
    """Prints what rank ``number`` said, which failed first, unless the first rank has said the same.

    What the first rank says of it may be no more than that somebody has left.
    """
    if ranks[0].poll() == ranks[number].poll() and ranks[number].poll() in SAID:
        return
    said.seek(0)
    print(f"process {number} of {len(ranks)} failed:", file=sys.stderr)
    print(said.read().decode(errors="replace").rstrip(), file=sys.stderr, flush=True)


def _end(ranks: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ends what still runs, politely first."""
    for ask in (signal.SIGTERM, signal.SIGKILL):
        running = [rank for rank in ranks if rank.poll() is None]
        for rank in running:
            rank.send_signal(ask)
        _wait_until(running, time.monotonic() + GRACE)


@contextmanager
def _passing_on(ranks: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Within it, SIGINT and SIGTERM go to the ``ranks``, which may finish what they are at.

    A second SIGINT ends this process by way of its ``finally`` clauses, which end the ranks.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[float] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        heard.append(time.monotonic())
        if number == signal.SIGINT and heard[-1] - heard[0] > ONE_REQUEST:
            raise KeyboardInterrupt
        for rank in ranks:
            if rank.poll() is None:
                rank.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

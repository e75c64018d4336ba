"""Starts one command several times on this machine, as ranks of one run; none of them outlives the others."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import IO

from recbole_pixel.interrupts import ONE_REQUEST

GRACE = 5.0  # seconds in which the other ranks may end by themselves, and say why, after one has failed
LINGER = 60.0  # seconds that other ranks may still take when the first has ended well
POLL = 0.1
MOST_WARNINGS = 20
STARTED_BY = "RECBOLE_PIXEL_STARTED_BY"
"""Environment: the number of the process that started a rank."""
SAID = (2, 130, 143)
"""Exit codes of our command that all ranks have for one reason: wrong settings or data, Ctrl+C, SIGTERM."""


def launch(command: Sequence[str], n_ranks: int, told: Mapping[str, str] | None = None) -> int:
    """Runs ``command`` in ``n_ranks`` processes; returns 0, or the exit code of one that failed.

    The first rank writes to this process's output. What another says is shown if it failed before the first did, and
    its warnings at the end. Ctrl+C and SIGTERM are passed on, and the ranks left to end as they will; a second Ctrl+C
    ends them. Ranks that call :func:`end_with_launcher` end when this process is killed. Several machines need
    ``torchrun``.

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
                environment |= {STARTED_BY: str(os.getpid()), **(told or {})}
                ranks.append(subprocess.Popen(list(command), env=environment, stdout=output, stderr=output))
            code, failed = _wait(ranks)
            if failed:
                _show(ranks, failed, said[failed - 1])
            elif code == 0:
                _show_warnings(said)
        finally:
            _end(ranks)
    return code


def end_with_launcher(environment: Mapping[str, str] = os.environ) -> None:
    """Sends this rank SIGTERM when what started it is gone: if it was killed, it could not end its ranks itself."""
    starter = int(environment.get(STARTED_BY, "0"))
    if starter == os.getppid():
        threading.Thread(target=_end_behind, args=(starter,), daemon=True).start()


def _end_behind(starter: int) -> None:
    while os.getppid() == starter:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)


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
    first_ended: float | None = None
    while True:
        codes = [rank.poll() for rank in ranks]
        for number, code in enumerate(codes):
            if code:
                _wait_until(ranks, time.monotonic() + GRACE)
                return _exit_code(code), number
        if None not in codes:
            return 0, 0
        if codes[0] == 0:  # the results are written, and the others have nothing left to do
            first_ended = first_ended or time.monotonic()
            if time.monotonic() - first_ended > LINGER:
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


def _show_warnings(said: Iterable[IO[bytes]]) -> None:
    """Prints the lines that ranks said in their own name, each once, whoever said it."""
    lines: dict[str, str] = {}
    for output in said:
        output.seek(0)
        for line in output.read().decode(errors="replace").splitlines():
            if found := re.match(r"rank \d+: (.*)", line):
                lines.setdefault(found[1], line)
    for line in list(lines.values())[:MOST_WARNINGS]:
        print(line, file=sys.stderr)
    if len(lines) > MOST_WARNINGS:
        print(f"and {len(lines) - MOST_WARNINGS} more warnings of other ranks than the first", file=sys.stderr)


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

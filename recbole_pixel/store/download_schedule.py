"""Who is asked next, and when: rate, requests per host, back-off and pauses; nothing of HTTP."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from recbole_pixel.store.download_addresses import host_of
from recbole_pixel.store.download_outcome import Job

LOOK_AHEAD = 1024
"""Jobs known at a time. Hosts are served in turn among these; more would serve more hosts and hold more memory."""


@dataclass
class _Host:
    queue: deque[Job] = field(default_factory=deque)
    n_active: int = 0
    n_failed_in_a_row: int = 0
    paused_until: float = 0.0


class Schedule:
    """Hands out jobs to workers of one event loop; each job taken is given back by `done` or `again`.

    Args:
        jobs: what to fetch, drawn as it is needed.
        per_host: jobs of one host handed out at a time.
        rate: jobs handed out per second.
        give_up_after: jobs of one host that fail in a row before the host is given up.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        jobs: Iterator[Job],
        *,
        per_host: int,
        rate: float,
        give_up_after: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.per_host, self.rate, self.give_up_after, self.clock = per_host, rate, give_up_after, clock
        self._jobs = jobs
        self._is_drawn = False
        self._hosts: dict[str, _Host] = {}
        self._turns: deque[_Host] = deque()  # hosts with something in their queue
        self._delayed: list[tuple[float, int, Job]] = []
        self._numbers = itertools.count()
        self._n_waiting = self._n_active = 0
        self._next_start = 0.0
        self._idle: deque[asyncio.Future[None]] = deque()

    async def take(self) -> Job | None:
        """The next job at the time it may begin; None when all are done."""
        while True:
            self._draw()
            job = self._ready()
            if job is not None:
                self._n_active += 1
                if not self.is_given_up(job):
                    await self._turn()
                return job
            if self._is_drawn and not self._n_waiting and not self._n_active:
                self._wake(len(self._idle))
                return None
            await self._change()

    def done(self, job: Job, *, is_host_well: bool) -> None:
        """Gives a job back for good; `is_host_well` is False if its host did not answer, or refused to."""
        host = self._release(job)
        host.n_failed_in_a_row = 0 if is_host_well else host.n_failed_in_a_row + 1

    def again(self, job: Job, asked: str, delay: float = 0.0, *, is_host_paused: bool = False) -> None:
        """Gives a job back to be handed out once more, for the URL `asked`, after `delay` seconds.

        Args:
            is_host_paused: nobody asks the host that answered within that time.
        """
        host = self._release(job)
        job.asked = asked
        due = self.clock() + delay
        if is_host_paused:
            host.paused_until = max(host.paused_until, due)
        self._n_waiting += 1
        heapq.heappush(self._delayed, (due, next(self._numbers), job))

    def is_given_up(self, job: Job) -> bool:
        """Whether the job's host failed so often that it should not be asked any more."""
        return self._host(job).n_failed_in_a_row >= self.give_up_after

    def _host(self, job: Job) -> _Host:
        name = host_of(job.asked)
        if name not in self._hosts:
            self._hosts[name] = _Host()
        return self._hosts[name]

    def _release(self, job: Job) -> _Host:
        host = self._host(job)
        host.n_active -= 1
        self._n_active -= 1
        self._wake(1)
        return host

    def _draw(self) -> None:
        while not self._is_drawn and self._n_waiting < LOOK_AHEAD:
            job = next(self._jobs, None)
            if job is None:
                self._is_drawn = True
                return
            self._n_waiting += 1
            self._enqueue(job)

    def _enqueue(self, job: Job) -> None:
        host = self._host(job)
        if not host.queue:
            self._turns.append(host)
        host.queue.append(job)

    def _ready(self) -> Job | None:
        now = self.clock()
        while self._delayed and self._delayed[0][0] <= now:
            self._enqueue(heapq.heappop(self._delayed)[2])
        for _ in range(len(self._turns)):
            host = self._turns.popleft()
            is_given_up = host.n_failed_in_a_row >= self.give_up_after
            if not is_given_up and (host.n_active >= self.per_host or host.paused_until > now):
                self._turns.append(host)
                continue
            job = host.queue.popleft()
            if host.queue:
                self._turns.append(host)
            host.n_active += 1
            self._n_waiting -= 1
            return job
        return None

    async def _turn(self) -> None:
        start = max(self._next_start, self.clock())
        self._next_start = start + 1 / self.rate
        await asyncio.sleep(max(0.0, start - self.clock()))

    async def _change(self) -> None:
        """Waits until a job is given back, or until time alone makes one ready."""
        times = [host.paused_until for host in self._turns if host.n_active < self.per_host]
        times += [self._delayed[0][0]] if self._delayed else []
        woken = asyncio.get_running_loop().create_future()
        self._idle.append(woken)
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(woken, max(0.001, min(times) - self.clock()) if times else None)
        with suppress(ValueError):
            self._idle.remove(woken)

    def _wake(self, n: int) -> None:
        while n and self._idle:
            woken = self._idle.popleft()
            if not woken.done():
                woken.set_result(None)
                n -= 1

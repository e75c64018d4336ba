"""Fetches many pictures at a time: one event loop asks, a few threads decode, one thread stores."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from recbole_pixel.store.download_http import Fetcher
from recbole_pixel.store.download_options import DownloadOptions
from recbole_pixel.store.download_outcome import Body, Failure, Job, Outcome, Redirect
from recbole_pixel.store.download_schedule import Schedule
from recbole_pixel.store.in_order import default_workers


class Results(Protocol):
    """Where the ends of jobs go. All but `prepare` and `store` are called in the thread that fetches."""

    def prepare(self, body: Body) -> bytes | Failure:
        """The picture to store, or why the answer is none; called in several threads."""

    def store(self, job: Job, body: Body, picture: bytes) -> None:
        """Stores the picture of a job; called in one thread, one picture at a time."""

    def stored(self, job: Job, body: Body) -> None:
        """The picture of a job is stored."""

    def fail(self, job: Job, failure: Failure) -> None:
        """A job has no picture."""

    def leave(self, job: Job) -> None:
        """A job was not asked for, since its host does not answer."""


def fetch_all(jobs: Iterator[Job], results: Results, options: DownloadOptions, workers: int | None = None) -> int:
    """Fetches every job and hands its end to `results`; returns the number of requests made.

    At most `options.connections` bodies are in memory. Whatever stops it, a KeyboardInterrupt included, a picture
    whose storing has begun is stored before this function ends.

    Args:
        workers: threads that decode; one per core by default.

    Raises:
        OSError: what `results.store` raises.
    """
    with ThreadPoolExecutor(workers or default_workers(), "decode") as decoding, ThreadPoolExecutor(1, "store") as one:
        return asyncio.run(_Workers(jobs, results, options, decoding, one).run())


class _Workers:
    """The event loop's side: as many workers as connections, each with one job at a time."""

    def __init__(
        self,
        jobs: Iterator[Job],
        results: Results,
        options: DownloadOptions,
        decoding: ThreadPoolExecutor,
        storing: ThreadPoolExecutor,
    ) -> None:
        self.results, self.options, self.decoding, self.storing = results, options, decoding, storing
        self.schedule = Schedule(
            jobs, per_host=options.per_host, rate=options.rate, give_up_after=options.give_up_after
        )

    async def run(self) -> int:
        """Works until all jobs are done or one worker raises; the number of requests."""
        async with Fetcher(self.options) as fetcher:
            workers = [asyncio.create_task(self._work(fetcher)) for _ in range(self.options.connections)]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
            return fetcher.n_requests

    async def _work(self, fetcher: Fetcher) -> None:
        while (job := await self.schedule.take()) is not None:
            if self.schedule.is_given_up(job):
                self.schedule.done(job, is_host_well=False)
                self.results.leave(job)
                continue
            body = self._judged(job, await fetcher.fetch(job.asked))
            if body is not None:
                await self._keep(job, body)

    def _judged(self, job: Job, outcome: Outcome) -> Body | None:
        """Gives the job back to the schedule, for good or for another try; the body if it is one."""
        if isinstance(outcome, Redirect) and job.n_redirects < self.options.max_redirects:
            job.n_redirects += 1
            self.schedule.again(job, outcome.url)
            return None
        if isinstance(outcome, Redirect):
            limit = self.options.max_redirects
            outcome = Failure("too_many_redirects", f"{limit} followed, the next leads to {outcome.url}")
        if isinstance(outcome, Body):
            self.schedule.done(job, is_host_well=True)
            return outcome
        job.n_tries += 1
        if outcome.is_transient and job.n_tries <= self.options.retries:
            job.n_redirects = 0
            self.schedule.again(job, job.url, self._delay(job, outcome), is_host_paused=outcome.is_overload)
        else:
            self.schedule.done(job, is_host_well=not outcome.is_of_host)
            self.results.fail(job, outcome)
        return None

    def _delay(self, job: Job, failure: Failure) -> float:
        """Seconds until the next try: back-off, spread so that retries do not come at once, or as the server asks."""
        delay = self.options.backoff * 2.0 ** (job.n_tries - 1) * random.uniform(0.5, 1.0)
        return min(max(delay, failure.retry_after or 0.0), self.options.max_wait)

    async def _keep(self, job: Job, body: Body) -> None:
        loop = asyncio.get_running_loop()
        picture = await loop.run_in_executor(self.decoding, self.results.prepare, body)
        if isinstance(picture, Failure):
            self.results.fail(job, picture)
            return
        await loop.run_in_executor(self.storing, self.results.store, job, body, picture)
        self.results.stored(job, body)

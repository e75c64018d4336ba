"""Who is asked next, and when."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

from recbole_pixel.store.download_outcome import Job
from recbole_pixel.store.download_schedule import LOOK_AHEAD, Schedule


def jobs(*urls: str) -> Iterator[Job]:
    return (Job(url, [url]) for url in urls)


def schedule(source: Iterator[Job], **how: float) -> Schedule:
    options = {"per_host": 2, "rate": 1e6, "give_up_after": 3, **how}
    return Schedule(source, per_host=options["per_host"], rate=options["rate"], give_up_after=options["give_up_after"])


async def taken(plan: Schedule, seconds: float = 0.2) -> str | None:
    """The URL that is handed out within a moment; `-` if none is."""
    try:
        job = await asyncio.wait_for(plan.take(), seconds)
    except asyncio.TimeoutError:
        return "-"
    return job and job.asked


def test_hosts_take_turns_and_have_their_caps():
    async def _run() -> list[str | None]:
        plan = schedule(jobs("http://a/1", "http://a/2", "http://a/3", "http://b/1", "http://b/2"))
        return [await taken(plan) for _ in range(6)]

    assert asyncio.run(_run()) == ["http://a/1", "http://b/1", "http://a/2", "http://b/2", "-", "-"]


def test_a_job_done_makes_room_for_the_next():
    async def _run() -> None:
        plan = schedule(jobs("http://a/1", "http://a/2"), per_host=1)
        job = await plan.take()
        waiting = asyncio.create_task(plan.take())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        plan.done(job, is_host_well=True)
        second = await asyncio.wait_for(waiting, 1)
        assert second.asked == "http://a/2"
        last = asyncio.create_task(plan.take())
        await asyncio.sleep(0.01)
        assert not last.done()  # the second may come back yet
        plan.again(second, "http://b/9", 0.05)
        assert (await asyncio.wait_for(last, 1)).asked == "http://b/9"
        ends = [asyncio.create_task(plan.take()) for _ in range(3)]
        await asyncio.sleep(0.01)
        plan.done(second, is_host_well=True)
        assert await asyncio.wait_for(asyncio.gather(*ends, plan.take()), 1) == [None] * 4

    asyncio.run(_run())


def test_a_paused_host_waits_and_others_do_not():
    async def _run() -> None:
        plan = schedule(jobs("http://a/1", "http://a/2", "http://b/1"))
        first = await plan.take()
        plan.again(first, first.asked, 0.8, is_host_paused=True)
        assert await taken(plan) == "http://b/1"
        assert await taken(plan) == "-"
        assert {await taken(plan, 5), await taken(plan, 5)} == {"http://a/1", "http://a/2"}

    asyncio.run(_run())


def test_jobs_begin_evenly_even_after_a_rest():
    async def _run() -> None:
        now = asyncio.get_running_loop().time
        plan = schedule(jobs(*(f"http://h{i}/" for i in range(7))), rate=50)
        for _ in range(2):
            begin = now()
            for i in range(3):
                await plan.take()
                assert now() >= begin + i / 50
            await asyncio.sleep(0.2)  # what was not asked in a rest is not made up for by a burst

    asyncio.run(_run())


def test_a_host_is_given_up_after_failures_in_a_row_and_at_once():
    async def _run() -> None:
        plan = schedule(jobs(*(f"http://a/{i}" for i in range(9))), per_host=1)
        for is_well in (False, False, True, False, False, False):
            job = await plan.take()
            assert not plan.is_given_up(job)
            plan.done(job, is_host_well=is_well)
        left = [await asyncio.wait_for(plan.take(), 0.5) for _ in range(3)]  # no cap holds them back
        assert all(plan.is_given_up(job) for job in left)

    asyncio.run(_run())


def test_few_jobs_are_known_at_a_time():
    drawn = itertools.count()
    source = (Job(f"http://a/{next(drawn)}", ["x"]) for _ in itertools.repeat(None))

    async def _run() -> None:
        plan = schedule(source)
        await plan.take()
        await plan.take()
        assert await taken(plan) == "-"

    asyncio.run(_run())
    assert next(drawn) <= LOOK_AHEAD + 2

"""Runs side by side: threads of one run wait for one another, runs do not."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import active_children, get_context, parent_process
from threading import Thread
from typing import Any, TypeVar

from recbole_pixel.report.kept_runs import KeptRuns

Key = TypeVar("Key", bound=tuple[object, ...])
Made = Mapping[Key, Callable[[], dict[str, Any]]]


def run_missing(
    wanted: Made[Key], runs: KeptRuns, n_jobs: int, expected: tuple[type[Exception], ...] = ()
) -> dict[Key, Exception]:
    """Makes the runs of ``wanted`` that ``runs`` does not keep, ``n_jobs`` at a time; each is kept as it ends.

    Args:
        wanted: what makes each run; can be pickled, as it is called in a process of its own where there are several.
        runs: what has been run.
        n_jobs: processes, each with its share of the cores.
        expected: errors of a run that the others are not to be stopped by; where MemoryError is one, neither are they
            by a process that is killed.

    Returns:
        The runs that ended in one of those.
    """
    failed: dict[Key, Exception] = {}

    def keep(key: Key, make: Callable[[], dict[str, Any]]) -> None:
        try:
            runs.run(key, make)
        except BrokenProcessPool:  # an error of none of the runs alone
            raise
        except expected as error:
            failed[key] = error

    missing = {key: make for key, make in wanted.items() if runs.get(*key) is None}
    if n_jobs == 1 or len(missing) < 2:
        for key, make in missing.items():
            keep(key, make)
            gc.collect()  # a run's models and tables refer to one another; hundreds of MB would stay
        return failed
    for key, make in _side_by_side(missing, n_jobs, keep).items():  # who of them was killed shows when each is alone
        if _side_by_side({key: make}, 1, keep):
            error = MemoryError("its process was ended from outside, as systems do that run out of memory")
            if not issubclass(MemoryError, expected or ()):
                raise error
            failed[key] = error
    return failed


def _side_by_side(missing: Made[Key], n_jobs: int, keep: Callable[..., None]) -> Made[Key]:
    """Makes runs in processes of their own; returns those that were lost because one of the processes was killed."""
    left = dict(missing)
    with ProcessPoolExecutor(n_jobs, get_context("spawn"), _begin, (n_jobs,)) as pool:
        futures = {pool.submit(make): key for key, make in missing.items()}
        try:
            for future in as_completed(futures):
                with suppress(BrokenProcessPool):
                    keep(futures[future], future.result)
                    del left[futures[future]]
        except BaseException:
            for child in active_children():
                child.terminate()
            pool.shutdown(cancel_futures=True)
            raise
    return left


def _begin(n_jobs: int) -> None:
    """Prepares a process: Ctrl-C is its parent's to answer, and it does not outlive the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    take_threads(n_jobs)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def take_threads(n_jobs: int) -> None:
    """Gives this process its share of the cores."""
    import torch

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // n_jobs))

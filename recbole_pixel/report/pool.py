"""Runs side by side: threads of one run wait for one another, runs do not."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any, TypeVar

from recbole_pixel.report.kept_runs import KeptRuns

Key = TypeVar("Key", bound=tuple[object, ...])


def run_missing(
    wanted: Mapping[Key, Callable[[], dict[str, Any]]],
    runs: KeptRuns,
    n_jobs: int,
    expected: tuple[type[Exception], ...] = (),
) -> dict[Key, Exception]:
    """Makes the runs of ``wanted`` that ``runs`` does not keep, ``n_jobs`` at a time; each is kept as it ends.

    Args:
        wanted: what makes each run; can be pickled, as it is called in a process of its own where there are several.
        runs: what has been run.
        n_jobs: processes, each with its share of the cores.
        expected: errors of a run that the others are not to be stopped by.

    Returns:
        The runs that ended in one of those.
    """
    failed: dict[Key, Exception] = {}

    def keep(key: Key, make: Callable[[], dict[str, Any]]) -> None:
        try:
            runs.run(key, make)
        except expected as error:
            failed[key] = error

    missing = {key: make for key, make in wanted.items() if runs.get(*key) is None}
    if n_jobs == 1 or len(missing) < 2:
        for key, make in missing.items():
            keep(key, make)
        return failed
    with ProcessPoolExecutor(n_jobs, get_context("spawn"), take_threads, (n_jobs,)) as pool:
        futures = {pool.submit(make): key for key, make in missing.items()}
        try:
            for future in as_completed(futures):
                keep(futures[future], future.result)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return failed


def take_threads(n_jobs: int) -> None:
    """Gives this process its share of the cores."""
    import torch

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // n_jobs))

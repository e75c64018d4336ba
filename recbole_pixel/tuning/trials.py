"""Trials of a search: runs that only validate, kept, so that an interrupted search goes on as if it had not been."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from recbole_pixel.report.entries import Entry
from recbole_pixel.report.kept_runs import KeptRuns
from recbole_pixel.report.runs import Job, Run, plan_job, reason

Report = Callable[[int, float], bool]
"""Told of each validation, by epoch from 0 and score; says whether the trial is to stop there."""

DONE, STOPPED, FAILED = "done", "stopped", "failed"


REPEATS = 50
"""Trials in a row of settings that were tried before, after which a search within seconds ends: they take none."""


class Spent(Exception):
    """The budget is used up, or everything was tried."""


class Trial(NamedTuple):
    """What became of a trial.

    Attributes:
        settings: that it tried.
        state: :data:`DONE`, :data:`STOPPED` early, or :data:`FAILED`.
        score: the best validation, so far as it went; None where it failed.
        epochs: that were validated.
        seconds: that it took.
        why: it failed.
    """

    settings: dict[str, Any]
    state: str
    score: float | None
    epochs: int
    seconds: float
    why: str = ""


class Search(NamedTuple):
    """What is searched for, and within which budget.

    Attributes:
        entry: the model.
        dataset: name.
        config_files: of all trials.
        settings: of all trials, the seed among them.
        n_trials: at most so many; None for as many as there are seconds for.
        budget: no trial begins when so many seconds are used up; None for no end.
    """

    entry: Entry
    dataset: str
    config_files: tuple[str, ...]
    settings: Mapping[str, Any]
    n_trials: int | None
    budget: float | None


class Trials:
    """Makes the trials of a search, or takes those that are kept.

    The engine that asks for them is asked anew after an interruption, from its seed; it asks for the same settings as
    before, and gets what is kept at once. So the search goes on as if it had never been interrupted.

    Args:
        search: whose trials.
        runs: where they are kept, by key.
        say: told of each.
    """

    def __init__(self, search: Search, runs: KeptRuns, say: Callable[[Trial, int], None]) -> None:
        self.search, self.runs, self.say = search, runs, say
        self.done: list[Trial] = []
        self.jobs: dict[str, Job] = {}
        self.failed: dict[str, str] = {}  # settings, and why
        self.bigger = True
        self.repeats = 0  # in a row, up to now

    @property
    def seconds(self) -> float:
        """That all of them took."""
        return sum(trial.seconds for trial in self.done)

    def best(self) -> Trial | None:
        """The best that ran to its end."""
        ended = [trial for trial in self.done if trial.state == DONE and trial.score is not None]
        sign = 1 if self.bigger else -1
        return max(ended, key=lambda trial: sign * (trial.score or 0.0), default=None)

    def make(self, settings: dict[str, Any], report: Report) -> Trial:
        """The next trial.

        Raises:
            Spent: nothing of the budget is left, or there is nothing new to spend it on.
        """
        n_trials, budget = self.search.n_trials, self.search.budget
        if len(self.done) >= n_trials if n_trials is not None else self.repeats >= REPEATS:
            raise Spent
        if budget is not None and self.seconds >= budget:
            raise Spent
        trial = self._attempted(settings, report)
        self.done.append(trial)
        self.say(trial, len(self.done))
        return trial

    def _attempted(self, settings: dict[str, Any], report: Report) -> Trial:
        """A trial that may fail; settings that failed do so again, without being run."""
        told, began = repr(sorted(settings.items())), time.perf_counter()
        if told in self.failed:
            self.repeats += 1
            return Trial(settings, FAILED, None, 0, 0.0, self.failed[told])
        try:
            return self._made(settings, report)
        except Exception as error:  # of these settings, or of all: the summary says how many failed, and why
            self.failed[told], self.repeats = reason(error), 0
            return Trial(settings, FAILED, None, 0, time.perf_counter() - began, self.failed[told])

    def _made(self, settings: dict[str, Any], report: Report) -> Trial:
        search = self.search
        entry, seed = search.entry, search.settings["seed"]
        run = Run(entry.label, entry.model, seed, {**search.settings, **entry.settings, **settings})
        job = plan_job(run, search.dataset, search.config_files)
        self.bigger = job.bigger
        kept = self.runs.get(job.key)
        self.repeats = self.repeats + 1 if job.key in self.jobs else 0
        seconds = 0.0 if job.key in self.jobs or kept is None else kept["seconds"]
        trial = _replayed(kept, settings, report, job.bigger, seconds) if kept is not None else None
        if trial is None:
            self.runs.forget(job.key)
            entry_made = self.runs.run((job.key,), partial(make_trial, job, settings, report))
            state = STOPPED if entry_made["stopped"] else DONE
            trial = _trial(entry_made["curve"], settings, state, job.bigger, entry_made["seconds"])
        self.jobs[job.key] = job
        return trial


def _replayed(
    kept: Mapping[str, Any], settings: dict[str, Any], report: Report, bigger: bool, seconds: float
) -> Trial | None:
    """A kept trial, stopped where ``report`` says so; None where it was stopped once and should go on now."""
    for place, (epoch, score) in enumerate(kept["curve"], 1):
        if report(epoch, score):
            return _trial(kept["curve"][:place], settings, STOPPED, bigger, seconds)
    return None if kept["stopped"] else _trial(kept["curve"], settings, DONE, bigger, seconds)


def _trial(curve: list[tuple[int, float]], settings: dict[str, Any], state: str, bigger: bool, seconds: float) -> Trial:
    best = (max if bigger else min)(score for _, score in curve)
    return Trial(settings, state, best, len(curve), seconds)


class _Stopped(Exception):
    """Ends a trial that is not worth going on with."""


def make_trial(job: Job, settings: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Trains and validates; the test part is not looked at, and no checkpoint is written.

    Raises:
        ValueError: nothing was validated.
    """
    from recbole_pixel.quick_start import run as run_model

    curve: list[tuple[int, float]] = []

    def watch(epoch: int, score: float) -> None:
        curve.append((epoch, float(score)))
        if report(*curve[-1]):
            raise _Stopped

    own = {"show_progress": False, "state": "ERROR", **job.run.settings}
    own["checkpoint_dir"] = str(Path(job.checkpoint_dir).parent)
    began, stopped = time.perf_counter(), False
    try:
        run_model(job.run.model, job.dataset, job.config_files, own, saved=False, watch=watch)
    except _Stopped:
        stopped = True
    if not curve:
        raise ValueError(f"{job.run.label} was never validated: eval_step is more than epochs, or nothing is held out")
    seconds = round(time.perf_counter() - began, 2)
    told = {"label": job.run.label, "seed": job.run.seed, "settings": dict(settings), "metric": job.metric}
    return {**told, "curve": curve, "seconds": seconds, "stopped": stopped}

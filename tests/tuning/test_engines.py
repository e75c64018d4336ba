"""Both engines: seeded, within their budget, resumed as if never interrupted, stopped early, failing by the trial."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from recbole_pixel.report.entries import Entry
from recbole_pixel.report.kept_runs import KeptRuns
from recbole_pixel.report.runs import Job
from recbole_pixel.tuning import hyperopt_engine, optuna_engine, trials
from recbole_pixel.tuning.space import Choice, Space, Steps, Uniform
from recbole_pixel.tuning.summary import best_yaml, write_summary
from recbole_pixel.tuning.trials import DONE, FAILED, STOPPED, Search, Trials

SPACE: Space = {"x": Uniform(0, 1), "y": Choice(("good", "bad")), "z": Steps(0, 4, 2)}
GRID: Space = {"y": Choice(("good", "bad")), "z": Steps(0, 4, 2)}


def score(settings: dict[str, Any]) -> float:
    return settings.get("x", 0.0) + (settings["y"] == "good") + settings["z"] / 10


class Runs:
    """Stands for training: the score is that of the settings, reached in ten epochs; counts what is really run."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []
        self.epochs = 10

    def make(self, job: Job, settings: dict[str, Any], report: trials.Report) -> dict[str, Any]:
        self.made.append(settings)
        if settings.get("x", 0.5) > 0.9:
            raise FloatingPointError("the training loss is nan")
        curve: list[tuple[int, float]] = []
        stopped = False
        for epoch in range(self.epochs):
            curve.append((epoch, score(settings) * (epoch + 1) / self.epochs))
            if report(*curve[-1]):
                stopped = True
                break
        return {"curve": curve, "seconds": 10.0, "stopped": stopped}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    counted = Runs()
    monkeypatch.setattr(trials, "make_trial", lambda *given: counted.make(*given))

    def plan(run: Any, dataset: str, files: tuple[str, ...]) -> Job:
        return Job(run, dataset, files, str(sorted(run.settings.items())), "saved", "ndcg@10", True)

    monkeypatch.setattr(trials, "plan_job", plan)
    return counted


@pytest.fixture(params=["optuna", "hyperopt"])
def engine(request: pytest.FixtureRequest) -> Callable[..., None]:
    pytest.importorskip(request.param, reason="needs the extra recbole-pixel[tune]")

    def search(space: Space, made: Trials, sampler: str = "tpe", seed: int = 1, stops_early: bool = False) -> None:
        if request.param == "optuna":
            optuna_engine.search(space, made, sampler, seed, True, stops_early)
        else:
            hyperopt_engine.search(space, made, sampler, seed, True, made.search.n_trials)

    return search


def trials_of(folder: Path, n_trials: int | None = 30, budget: float | None = None, say: Any = None) -> Trials:
    search = Search(Entry("SASRec", "SASRec", {}), "w", (), {"seed": 1}, n_trials, budget)
    kept = KeptRuns(folder / "trials.jsonl", ("key",), lambda entry: None)
    return Trials(search, kept, say or (lambda trial, number: None))


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_search_finds_the_better_half_and_repeats_itself_by_its_seed(tmp_path, runs, engine, sampler):
    first, second, other = (trials_of(tmp_path / name) for name in ("a", "b", "c"))
    engine(SPACE, first, sampler)
    engine(SPACE, second, sampler)
    engine(SPACE, other, sampler, seed=2)
    assert len(first.done) == 30
    assert [one.settings for one in first.done] == [one.settings for one in second.done]
    assert first.done[0].settings != other.done[0].settings
    best = first.best()
    assert best is not None
    assert best.settings["y"] == "good"
    assert best.settings["z"] in (0, 2, 4)
    assert best.score == pytest.approx(max(score(one.settings) for one in first.done if one.state == DONE))
    failed = [one for one in first.done if one.state == FAILED]
    assert all(one.settings["x"] > 0.9 and one.why == "the training loss is nan" for one in failed)


def test_a_grid_tries_every_point_once(tmp_path, runs, engine):
    made = trials_of(tmp_path, n_trials=None)
    engine(GRID, made, "grid")
    assert sorted((one.settings["y"], one.settings["z"]) for one in made.done) == [
        (y, z) for y in ("bad", "good") for z in (0, 2, 4)
    ]
    fewer = trials_of(tmp_path / "fewer", n_trials=4)
    engine(GRID, fewer, "grid")
    assert len(fewer.done) == len({str(one.settings) for one in fewer.done}) == 4


def test_an_interrupted_search_goes_on_as_if_it_had_not_been(tmp_path, runs, engine):
    undisturbed = trials_of(tmp_path / "undisturbed", 15)
    engine(SPACE, undisturbed)

    def interrupt(trial: Any, number: int) -> None:
        if number == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine(SPACE, trials_of(tmp_path, 15, say=interrupt))
    before = len(runs.made)
    resumed = trials_of(tmp_path, 15)
    engine(SPACE, resumed)
    assert [(one.settings, one.state, one.score) for one in resumed.done] == [
        (one.settings, one.state, one.score) for one in undisturbed.done
    ]
    again = [settings for settings in runs.made[before:] if settings.get("x", 0.0) <= 0.9]
    expected = {str(one.settings) for one in undisturbed.done[7:] if one.state == DONE}
    assert {str(settings) for settings in again} == expected, "what was kept is not run again"


def test_a_budget_in_seconds_counts_what_is_kept(tmp_path, runs, engine):
    space: Space = {"x": Uniform(0, 0.5), "y": Choice(("good", "bad")), "z": Steps(0, 4, 2)}
    first = trials_of(tmp_path, None, 45.0)
    engine(space, first)
    assert (len(first.done), first.seconds) == (5, 50.0), "a trial that began within 45 s is finished"
    engine(space, trials_of(tmp_path, None, 45.0))
    assert len(runs.made) == 5
    more = trials_of(tmp_path, None, 75.0)
    engine(space, more)
    assert (len(more.done), len(runs.made)) == (8, 8)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_budget_in_seconds_ends_where_everything_was_tried(tmp_path, runs, engine, sampler):
    made = trials_of(tmp_path, n_trials=None, budget=600)
    engine({"y": Choice(("good", "bad")), "z": Steps(0, 4, 4)}, made, sampler)
    assert len(runs.made) <= 4
    assert made.seconds == 10 * len(runs.made), "what is tried again takes no time"
    assert len({trial.score for trial in made.done}) == len(runs.made) >= 2


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_what_failed_is_not_run_again(tmp_path, runs, engine, sampler):
    made = trials_of(tmp_path, n_trials=None, budget=600)
    engine({"x": Choice((0.95, 0.97)), "y": Choice(("good", "bad")), "z": Choice((2,))}, made, sampler)
    assert {(trial.state, trial.why) for trial in made.done} == {(FAILED, "the training loss is nan")}
    assert len(runs.made) == len({str(settings) for settings in runs.made}) <= 4
    assert len(made.done) > trials.REPEATS


def test_trials_behind_the_median_are_stopped_and_stay_so(tmp_path, runs):
    pytest.importorskip("optuna", reason="needs the extra recbole-pixel[tune]")
    made = trials_of(tmp_path)
    optuna_engine.search(SPACE, made, "random", 1, True, True)
    stopped = [one for one in made.done if one.state == STOPPED]
    assert stopped
    assert {one.epochs for one in stopped} == {optuna_engine.WARM_UP + 1}
    best = made.best()
    assert best is not None
    assert best.epochs == runs.epochs
    before = len([settings for settings in runs.made if settings["x"] <= 0.9])
    again = trials_of(tmp_path)
    optuna_engine.search(SPACE, again, "random", 1, True, True)
    assert [one.state for one in again.done] == [one.state for one in made.done]
    assert len([settings for settings in runs.made if settings["x"] <= 0.9]) == before
    whole = trials_of(tmp_path)
    optuna_engine.search(SPACE, whole, "random", 1, True, False)  # without stopping, what was stopped is made whole
    assert STOPPED not in [one.state for one in whole.done]
    assert len([settings for settings in runs.made if settings["x"] <= 0.9]) == before + len(stopped)


def test_the_summary_says_what_each_got_and_the_best_is_a_settings_file(tmp_path, runs):
    found = [trials_of(tmp_path, 3), trials_of(tmp_path / "b", 3)]
    entry = Entry("ours", "PixelSASRec", {"item_tower": "text", "text_length": 32})
    found[1].search = found[1].search._replace(entry=entry)
    for made in found:
        for x in (0.2, 0.95, 0.7):
            made.make({"x": x, "y": "good", "z": 2}, lambda epoch, value: False)
    text = write_summary(found, tmp_path / "out", "ndcg@10", "optuna, tpe, seed 1")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert rows[0][:6] == ["model", "trials", "stopped early", "failed", "seconds", "best valid ndcg@10"]
    assert [row[:4] for row in rows[2:]] == [["SASRec", "3", "0", "1"], ["ours", "3", "0", "1"]]
    assert rows[2][5:] == ["1.9000", "x=0.7, y=good, z=2"]
    assert "Each model was given 3 trials" in text
    assert "ours, failed: the training loss is nan." in text
    assert yaml.safe_load(best_yaml(found, "ndcg@10", "how")) == {
        "per_model": {
            "SASRec": {"x": 0.7, "y": "good", "z": 2},
            "PixelSASRec:text": {"text_length": 32, "x": 0.7, "y": "good", "z": 2},
        }
    }
    lines = list(csv.DictReader((tmp_path / "out" / "trials.csv").open()))
    assert [(line["model"], line["trial"], line["state"]) for line in lines[:3]] == [
        ("SASRec", "1", "done"), ("SASRec", "2", "failed"), ("SASRec", "3", "done"),
    ]  # fmt: skip
    assert lines[1]["why"] == "the training loss is nan"

"""Kept results survive writers that are killed, and say what is wrong with a file that is none of theirs."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from recbole_pixel.report.kept_runs import KeptRuns
from recbole_pixel.report.pool import run_missing


def make(value: Any) -> dict[str, Any]:
    return {"value": value}


@pytest.mark.parametrize("torn", ['{"key": "b", "va', '{"key": "b", "value": 3}', "{", "\0\0\0"])
def test_a_torn_line_is_no_result_and_is_cut_off_before_the_next(tmp_path, torn):
    path = tmp_path / "runs.jsonl"
    KeptRuns(path, ("key",)).run(("a",), partial(make, 1))
    whole = path.read_text()
    path.write_text(whole + torn)
    runs = KeptRuns(path, ("key",))
    assert (runs.get("a"), runs.get("b")) == ({"key": "a", "value": 1}, None)
    assert path.read_text() == whole + torn, "who only reads leaves a line alone that another may be writing"
    runs.run(("b",), partial(make, 2))
    assert path.read_text() == whole + '{"key": "b", "value": 2}\n'


def test_a_result_reads_as_it_will_from_the_file(tmp_path):
    path = tmp_path / "runs.jsonl"
    now = KeptRuns(path, ("key",)).run(("a",), partial(make, {1: (0.1 + 0.2, float("inf"))}))
    assert now == KeptRuns(path, ("key",)).get("a") == {"key": "a", "value": {"1": [0.1 + 0.2, float("inf")]}}


def test_what_is_forgotten_is_made_anew_and_the_newer_line_counts(tmp_path):
    path = tmp_path / "runs.jsonl"
    runs = KeptRuns(path, ("key",))
    runs.run(("a",), partial(make, 1))
    runs.forget("a")
    runs.run(("a",), partial(make, 2))
    assert KeptRuns(path, ("key",)).get("a") == {"key": "a", "value": 2}


@pytest.mark.parametrize(("line", "message"), [("nonsense", "line 2 is no result"), ('{"run": 1}', "has no 'key'")])
def test_a_file_of_something_else_is_refused(tmp_path, line, message):
    path = tmp_path / "runs.jsonl"
    path.write_text(f'{{"key": "a"}}\n{line}\n')
    with pytest.raises(ValueError, match=message):
        KeptRuns(path, ("key",))


def end_if_bad(name: str) -> dict[str, Any]:
    """A run that is killed from outside, as by a system out of memory."""
    if name == "bad":
        os.kill(os.getpid(), signal.SIGKILL)
    return {"pid": os.getpid()}


def test_a_killed_process_takes_no_other_run_along(tmp_path: Path) -> None:
    runs = KeptRuns(tmp_path / "runs.jsonl", ("key",), say=lambda entry: None)
    wanted = {(name,): partial(end_if_bad, name) for name in ("bad", "good")}
    failed = run_missing(wanted, runs, 2, (MemoryError,))
    assert {key: type(error) for key, error in failed.items()} == {("bad",): MemoryError}
    kept = runs.get("good")
    assert kept is not None
    assert kept["pid"] != os.getpid()

"""Ctrl+C and SIGTERM: a run stops behind its step, is kept, and says how to go on."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from killed_runs import assert_same, ends, run_folder, undisturbed
from worlds import random_rows, write_inter

from recbole_pixel import interrupts
from recbole_pixel.cli import main
from recbole_pixel.interrupts import InterruptedRunError, Interrupts
from recbole_pixel.kept_states import states_in
from recbole_pixel.quick_start import run
from recbole_pixel.resumable import Resumable
from recbole_pixel.trainer import PixelTrainer


@pytest.fixture
def world(tmp_path, settings) -> dict[str, Any]:
    """Settings of runs of 2 epochs of 4 batches."""
    write_inter(tmp_path, "w", random_rows(0))
    return {**settings, "item_tower": "id", "train_batch_size": 14, "epochs": 2, "hidden_dropout_prob": 0.2}


def signalled(patch: pytest.MonkeyPatch, owner: Any, name: str, at: int, number: int = signal.SIGTERM) -> None:
    """Sends this process a signal within the ``at``-th call of a method, from 1."""
    method, calls = getattr(owner, name), iter(range(1, 10_000))

    def heard(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == at:
            os.kill(os.getpid(), number)
        return method(*args, **kwargs)

    patch.setattr(owner, name, heard)


@pytest.mark.parametrize(
    ("model", "place", "newest"),
    [
        ("PixelSASRec", (PixelTrainer, "_train_step", 2), "step-000000002"),
        ("PixelSASRec", (PixelTrainer, "_train_step", 4), "step-000000004"),
        ("PixelSASRec", (Resumable, "_full_sort_batch_eval", 1), "step-000000004"),
        ("PixelSASRec", (PixelTrainer, "_save_checkpoint", 1), "step-000000004"),
        ("PixelSASRec", (PixelTrainer, "_save_checkpoint", 2), "step-000000008-end"),
        ("SASRec", (Resumable, "_train_rest", 2), None),
    ],
)
def test_a_run_that_is_asked_to_stop_goes_on_to_the_same_end(tmp_path, world, model, place, newest):
    """Asked within a step, within the last of an epoch, while it validates, and between two epochs."""
    settings = {**world, "learning_rate": 0.01}
    before = signal.getsignal(signal.SIGTERM)
    whole = undisturbed(model, settings, tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        signalled(patch, *place)
        with pytest.raises(InterruptedRunError) as stopped:
            run(model, "w", settings=settings)
    assert stopped.value.code == 143
    assert stopped.value.folder == run_folder(tmp_path / "saved")
    if newest is not None:
        assert states_in(stopped.value.folder)[0].stem == newest
    assert signal.getsignal(signal.SIGTERM) is before
    assert_same(ends(run(model, "w", settings=settings, resume=stopped.value.folder)), whole)


@pytest.mark.parametrize(
    ("number", "started", "program"),
    [
        (signal.SIGINT, "/usr/bin/recbole-pixel", ["recbole-pixel", "train"]),
        (signal.SIGTERM, "./run_recbole_pixel.py", ["python", "./run_recbole_pixel.py"]),
    ],
)
def test_the_command_says_how_to_go_on_and_that_works(tmp_path, world, monkeypatch, capfd, number, started, program):
    monkeypatch.setattr(sys, "argv", [started])
    own = {key: value for key, value in world.items() if key != "checkpoint_dir"}
    arguments = ["train", "--dataset=w", *(f"--{key}={value}" for key, value in own.items())]
    with pytest.MonkeyPatch.context() as patch:
        signalled(patch, PixelTrainer, "_train_step", 2, number)
        assert main(arguments) == 128 + number
    said = capfd.readouterr().err.splitlines()
    assert "stopping behind this step; Ctrl+C again stops at once" in said
    folder = run_folder(Path("saved"))
    assert f"the run was stopped; its newest state is {folder / 'step-000000002.pth'}" in said
    (command,) = [line.removeprefix("to go on: ") for line in said if line.startswith("to go on: ")]
    assert shlex.split(command)[:2] == program
    assert main(["train", *shlex.split(command)[2:]]) == 0
    assert "PixelSASRec (id) on w, seed 1" in capfd.readouterr().out
    assert states_in(folder)[0].stem == "step-000000008-end"


def test_a_run_that_keeps_nothing_is_interrupted_as_ever(world):
    with pytest.MonkeyPatch.context() as patch:
        signalled(patch, PixelTrainer, "_train_step", 2, signal.SIGINT)
        with pytest.raises(KeyboardInterrupt) as stopped:
            run("PixelSASRec", "w", settings={**world, "keep_checkpoints": 0})
    assert not isinstance(stopped.value, InterruptedRunError)


def test_a_second_request_is_another_only_when_it_comes_later(monkeypatch, capfd):
    """A terminal and a launcher both pass one Ctrl+C on."""
    with Interrupts() as asked:
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert asked.number == signal.SIGINT
        monkeypatch.setattr(interrupts, "ONE_REQUEST", 0.0)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert capfd.readouterr().err.count("stopping behind this step") == 1


def test_what_was_to_be_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as asked:
            os.kill(os.getpid(), signal.SIGINT)
            assert asked.number is None
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_launcher_passes_it_on_and_lets_the_processes_finish(tmp_path, number):
    """Each takes a second to stop, longer than a process that failed would be left to the others."""
    rank = (
        "import os, signal, sys, time\n"
        "def stop(number, _):\n    time.sleep(1)\n"
        f"    open(r'{tmp_path}/done' + os.environ['RANK'], 'w')\n    sys.exit(128 + number)\n"
        f"signal.signal({int(number)}, stop)\nopen(r'{tmp_path}/up' + os.environ['RANK'], 'w')\ntime.sleep(60)"
    )
    code = (
        f"from recbole_pixel.launcher import launch; import sys; sys.exit(launch([sys.executable, '-c', {rank!r}], 2))"
    )
    root = Path(interrupts.__file__).parents[1]
    process = subprocess.Popen([sys.executable, "-c", code], cwd=root, stderr=subprocess.PIPE, text=True)
    while len(list(tmp_path.glob("up*"))) < 2:
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert {path.name for path in tmp_path.glob("done*")} == {"done0", "done1"}
    assert "failed" not in said

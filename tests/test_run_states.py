"""The states of a run: which are kept, what is done where they are damaged, cannot be written, or belong to another."""

from __future__ import annotations

import logging
import os
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from killed_runs import assert_same, ends, killed_run, run_folder, undisturbed
from worlds import random_rows, write_inter

from recbole_pixel.checkpoint import read_checkpoint, write_checkpoint
from recbole_pixel.kept_states import KeptStates, states_in
from recbole_pixel.quick_start import run
from recbole_pixel.resumable import Resumable
from recbole_pixel.trainer import PixelTrainer
from recbole_pixel.whole_files import DamagedFileError, check_whole


@pytest.fixture
def world(tmp_path, settings) -> dict[str, Any]:
    """Settings of runs of 2 epochs of 4 batches."""
    write_inter(tmp_path, "w", random_rows(0))
    own = {"item_tower": "id", "train_batch_size": 14, "epochs": 2, "checkpoint_steps": 1, "hidden_dropout_prob": 0.2}
    return {**settings, **own}


@pytest.fixture
def killed(tmp_path, world) -> tuple[dict[str, Any], Path]:
    """Settings, and the folder of a run that was killed behind 3 steps, with states of the last two."""
    killed_run("PixelSASRec", "w", world, (PixelTrainer, "_train_step", 4, True))
    return world, run_folder(tmp_path / "saved")


def numbers(folder: Path) -> list[str]:
    return [path.stem for path in states_in(folder)]


def resumed(settings: dict[str, Any], resume: Any = True, **own: Any) -> dict[str, Any]:
    return run("PixelSASRec", "w", settings={**settings, **own}, resume=resume)


def test_the_newest_states_are_kept_and_a_run_that_is_done_says_so(killed, monkeypatch, caplog):
    settings, folder = killed
    assert numbers(folder) == ["step-000000003", "step-000000002"]
    result = resumed(settings, keep_checkpoints=3)
    assert numbers(folder) == ["step-000000008-end", "step-000000008", "step-000000007"]
    monkeypatch.setattr(PixelTrainer, "_train_step", lambda *_: pytest.fail("it was finished"))
    caplog.set_level(logging.INFO)
    again = resumed(settings)
    assert "step-000000008-end.pth: which is finished" in caplog.text
    assert_same(ends(again), ends(result))
    assert again["checkpoint"] == result["checkpoint"]


def test_without_states_there_are_none(tmp_path, world):
    run("PixelSASRec", "w", settings={**world, "keep_checkpoints": 0})
    assert [path.suffix for path in (tmp_path / "saved").iterdir()] == [".pth"]
    with pytest.raises(FileNotFoundError, match=r"there is no run of PixelSASRec in .*; start it without --resume"):
        resumed(world)


def test_epochs_and_steps_between_states_are_as_asked(tmp_path, world, monkeypatch):
    written, write = [], KeptStates.write
    monkeypatch.setattr(KeptStates, "write", lambda *args: written.append(write(*args).stem[5:].lstrip("0")))
    run("PixelSASRec", "w", settings={**world, "epochs": 3, "checkpoint_epochs": 2, "checkpoint_steps": None})
    assert written == ["8", "12-end"]
    written.clear()
    run("PixelSASRec", "w", settings={**world, "checkpoint_epochs": None, "checkpoint_steps": 3})
    assert written == ["3", "6", "8-end"]


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    """One bit of a weight."""
    data, weights = bytearray(path.read_bytes()), read_checkpoint(path)["state_dict"]["position_embedding.weight"]
    place = bytes(data).index(weights.numpy().tobytes())
    data[place + 5] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [tear, empty, flip])
def test_a_damaged_state_is_told_and_the_one_before_it_taken(tmp_path, killed, caplog, damage):
    settings, folder = killed
    whole = undisturbed("PixelSASRec", settings, tmp_path)
    damage(folder / "step-000000003.pth")
    assert_same(ends(resumed(settings)), whole)
    assert "step-000000003.pth" in caplog.text
    assert "the state before it is taken" in caplog.text
    assert (folder / "step-000000003.pth.damaged").exists()


def test_where_no_state_is_whole_nothing_is_trained(killed):
    settings, folder = killed
    for path in states_in(folder):
        tear(path)
    with pytest.raises(ValueError, match=r"none of the 2 states in .* is whole: start a new run"):
        resumed(settings, folder)


def test_every_flipped_bit_is_noticed_or_does_no_harm(tmp_path):
    """torch.load notices none in a tensor."""
    path, state = tmp_path / "s.pth", {"weights": torch.arange(64.0), "epoch": 3}
    write_checkpoint(state, path)
    data, noticed = path.read_bytes(), 0
    for place in range(0, len(data), 7):
        path.write_bytes(data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :])
        try:
            check_whole(path)
            found = torch.load(path, weights_only=True)
        except Exception:
            noticed += 1
            continue
        assert found["epoch"] == 3
        assert torch.equal(found["weights"], state["weights"])
    assert noticed > 50
    start = data.index(state["weights"].numpy().tobytes())
    path.write_bytes(data[: start + 9] + bytes([data[start + 9] ^ 1]) + data[start + 10 :])
    assert not torch.equal(torch.load(path, weights_only=True)["weights"], state["weights"]), "torch's reader alone"
    with pytest.raises(DamagedFileError, match=r"s\.pth is damaged: the checksum of .* is not that"):
        read_checkpoint(path)


class FullDisk:
    """Within it, no file grows beyond ``n_bytes``: the system refuses to write."""

    def __init__(self, n_bytes: int) -> None:
        self.n_bytes = n_bytes

    def __enter__(self) -> None:
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.n_bytes, self.before[1]))

    def __exit__(self, *_: object) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)


def test_a_state_that_cannot_be_written_is_told_and_the_run_goes_on(tmp_path, world, monkeypatch, caplog):
    write = KeptStates.write

    def cannot(states: KeptStates, state: Any, n_updates: int, is_end: bool = False) -> Path:
        if n_updates < 3:
            return write(states, state, n_updates, is_end)
        with FullDisk(2000):
            return write(states, state, n_updates, is_end)

    with monkeypatch.context() as patch:
        patch.setattr(KeptStates, "write", cannot)
        result = run("PixelSASRec", "w", settings=world)
    folder = run_folder(tmp_path / "saved")
    assert numbers(folder) == ["step-000000002", "step-000000001"]
    assert not list(folder.glob("*.partial"))
    assert "the state behind step 3 was not kept" in caplog.text
    assert "the newest is" in caplog.text
    assert resumed(world)["test"] == result["test"]


def test_a_model_that_cannot_be_written_stops_the_run_which_goes_on_when_it_can(tmp_path, world, monkeypatch):
    whole = undisturbed("PixelSASRec", world, tmp_path)
    save = PixelTrainer._write

    def cannot(trainer: PixelTrainer, *args: Any) -> None:
        with FullDisk(2000):
            save(trainer, *args)

    with monkeypatch.context() as patch:
        patch.setattr(PixelTrainer, "_write", cannot)
        with pytest.raises(OSError, match="too large"):
            run("PixelSASRec", "w", settings=world)
    assert_same(ends(resumed(world)), whole)


def test_killed_within_a_save_it_goes_on_from_the_state_before(tmp_path, world, monkeypatch):
    whole = undisturbed("PixelSASRec", world, tmp_path)
    killed_run("PixelSASRec", "w", world, (os, "replace", 3, True))
    folder = run_folder(tmp_path / "saved")
    assert numbers(folder)[0] == "step-000000002"
    half = folder / "step-000000003.pth.1.partial"
    half.write_bytes(b"PK")
    assert_same(ends(resumed(world)), whole)
    assert not half.exists()


OTHER_COURSES: list[tuple[dict[str, Any], str]] = [
    ({"learning_rate": 0.5, "hidden_size": 8}, "hidden_size is 16 there, 8 here; learning_rate is 0.001 there"),
    ({"seed": 3}, "seed is 1 there, 3 here; give that run's"),
    ({"lr_schedule": "cosine", "epochs": 4}, "lr_schedule is 'constant' there.*epochs is 2 there, 4 here, and the"),
    ({"epochs": 0}, "epochs is 2 there, 0 here, and it is in epoch 0"),
]


def test_settings_that_change_the_course_are_named(killed):
    settings, folder = killed
    for (own, message), resume in zip(OTHER_COURSES, (True, folder, states_in(folder)[0], True), strict=True):
        with pytest.raises(ValueError, match=message):
            resumed(settings, resume, **own)


def test_settings_that_do_not_may_be_others(killed, tmp_path):
    settings, folder = killed
    own = {"eval_batch_size": 7, "result_file": str(tmp_path / "r.json"), "keep_checkpoints": 1, "checkpoint_steps": 3}
    assert resumed(settings, folder, **own)["epochs"] == 2
    assert numbers(folder) == ["step-000000008-end"]


def test_more_epochs_may_be_asked_for(tmp_path, world):
    whole = undisturbed("PixelSASRec", {**world, "epochs": 4}, tmp_path)
    run("PixelSASRec", "w", settings={**world, "epochs": 3})
    assert_same(ends(resumed(world, epochs=4)), whole)


def test_a_run_that_lost_patience_is_finished_whatever_its_epochs(world, monkeypatch):
    settings, validate = {**world, "stopping_step": 0, "epochs": 9}, PixelTrainer._valid_epoch
    falling = iter([0.9, 0.8])
    with monkeypatch.context() as patch:
        patch.setattr(PixelTrainer, "_valid_epoch", lambda *args, **own: (next(falling), validate(*args, **own)[1]))
        assert run("PixelSASRec", "w", settings=settings)["epochs"] == 2
    monkeypatch.setattr(PixelTrainer, "_train_step", lambda *_: pytest.fail("it was finished"))
    assert resumed(settings, epochs=20)["epochs"] == 2


def test_what_resume_names(killed, tmp_path):
    settings, folder = killed
    older = states_in(folder)[1]
    for wrong, error, message in (
        (tmp_path / "none.run", FileNotFoundError, "--resume names .*none.run, and there is nothing"),
        (tmp_path / "w" / "w.inter", ValueError, "w.inter holds no state to go on from; --resume takes a file step-N"),
    ):
        with pytest.raises(error, match=message):
            resumed(settings, wrong)
    killed_run("PixelSASRec", "w", settings, (PixelTrainer, "_train_step", 1, True), resume=older)
    assert read_checkpoint(older)["run"]["n_updates"] == 2
    assert resumed(settings, folder.with_suffix(".pth"))["epochs"] == 2, "the model's name stands for its run"


def test_other_data_and_a_model_that_is_gone_are_refused(killed, tmp_path):
    settings, folder = killed
    rows = random_rows(0)
    write_inter(tmp_path, "w", [*rows[1:], (rows[0][0], "i1", rows[0][2])])
    with pytest.raises(ValueError, match=r"trained on other interactions than w has here"):
        resumed(settings)
    write_inter(tmp_path, "w", rows)
    killed_run("PixelSASRec", "w", settings, (PixelTrainer, "_train_step", 3, True), resume=True)
    folder.with_suffix(".pth").unlink()
    with pytest.raises(FileNotFoundError, match="the model of the best epoch so far, is gone"):
        resumed(settings)


def test_two_processes_do_not_go_on_with_one_run(killed):
    settings, folder = killed
    other = KeptStates(folder, 2)
    other.lock()
    with pytest.raises(BlockingIOError, match="is still going on, in another process: wait for it, or end it first"):
        resumed(settings)
    other.unlock()
    assert resumed(settings)["epochs"] == 2


def test_validation_is_made_again_and_counted_once(killed):
    settings, _ = killed
    killed_run("PixelSASRec", "w", settings, (Resumable, "_full_sort_batch_eval", 1, True), resume=True)
    result = resumed(settings)
    assert [epoch for epoch, _ in result["curves"]["valid"]] == [0, 1]
    assert [epoch for epoch, _ in result["curves"]["loss"]] == [0, 1]

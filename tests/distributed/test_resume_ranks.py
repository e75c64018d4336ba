"""Ranks that were killed, or of which one was asked to stop, go on together to the end of those that were not."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import resume_work
from killed_runs import assert_same
from test_training import SETTINGS
from worlds import random_rows, write_inter

from recbole_pixel.quick_start import run


@pytest.fixture
def settings(tmp_path) -> dict[str, Any]:
    write_inter(tmp_path, "w", random_rows(0))
    own = {"item_tower": "id", "checkpoint_steps": 2, "train_batch_size": 10, "hidden_dropout_prob": 0.3, "epochs": 2}
    return {**SETTINGS, **own, "data_path": str(tmp_path), "extra_candidates": 5}


def test_ranks_go_on_each_with_its_own_dropout_and_one_goes_on_for_both(ranks, tmp_path, settings, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    whole = ranks(resume_work.finished, tmp_path, {**settings, "checkpoint_dir": str(tmp_path / "whole")})
    assert ranks(resume_work.killed, tmp_path, settings, 4) == ["killed", "killed"]
    assert ranks(resume_work.asked_to_stop, tmp_path, {**settings, "checkpoint_dir": str(tmp_path / "other")}, 2) == [
        (143, 3),
        (143, 3),
    ], "all stop at one step, that behind the one in which they heard of it"
    shutil.copytree(tmp_path / "other", tmp_path / "alone")
    for checkpoint_dir in ("saved", "other"):
        own = {**settings, "checkpoint_dir": str(tmp_path / checkpoint_dir)}
        for one, other in zip(ranks(resume_work.finished, tmp_path, own, True), whole, strict=True):
            assert_same(one, other)
    result = run("PixelSASRec", "w", settings={**settings, "checkpoint_dir": str(tmp_path / "alone")}, resume=True)
    assert "the run was begun by 2 processes, and 1 go on with it" in caplog.text
    assert result["epochs"] == 2
    losses = dict(result["curves"]["loss"])
    assert losses[0] == pytest.approx(dict(whole[0]["result"]["curves"]["loss"])[0], rel=0.05), "but for dropout"

"""What was noticed of a run before it was interrupted is known after it, and is compared with what comes."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from killed_runs import assert_same, ends, killed_run
from worlds import random_rows, write_inter

from recbole_pixel.health.losses import WINDOW, StepLosses
from recbole_pixel.health.notes import Notes
from recbole_pixel.health.progress import Progress
from recbole_pixel.quick_start import run
from recbole_pixel.resumable import Resumable
from recbole_pixel.trainer import PixelTrainer

IDLE = {
    "item_tower": "id", "learning_rate": 1e-9, "weight_decay": 0.0, "train_batch_size": 2, "epochs": 8,
    "extra_candidates": "all", "metric_decimal_place": 7,
}  # fmt: skip
"""34 steps an epoch in which nothing is learnt: that is said after a hundred."""


def test_a_run_that_was_killed_has_the_notes_of_one_that_was_not(tmp_path, settings, monkeypatch):
    told: list[str] = []
    log = SimpleNamespace(warning=told.append, info=told.append)
    monkeypatch.setattr("recbole_pixel.health.notes.getLogger", lambda: log)
    write_inter(tmp_path, "w", random_rows(0, n_users=40))
    settings |= IDLE
    whole = run("PixelSASRec", "w", settings={**settings, "checkpoint_dir": str(tmp_path / "whole")})
    noted = {note["kind"] for note in whole["warnings"]}
    assert "weights_stand_still" in noted
    told.clear()
    killed_run("PixelSASRec", "w", settings, (Resumable, "_full_sort_batch_eval", 2, True))
    killed_run("PixelSASRec", "w", settings, (PixelTrainer, "_train_rest", 5, True), resume=True)
    assert any("[weights_stand_still]" in line for line in told)
    told.clear()
    resumed = run("PixelSASRec", "w", settings=settings, resume=True)
    assert_same(ends(resumed), ends(whole))
    assert not any("[weights_stand_still]" in line for line in told), "told before"


def read_losses(losses: StepLosses, values: list[float]) -> None:
    for value in values:
        losses.add(torch.tensor(value), {})
    losses.read()


def test_a_loss_that_explodes_behind_an_interruption_is_compared_with_what_was_before_it():
    before, notes = StepLosses(Notes()), Notes()
    read_losses(before, [1.0] * (2 * WINDOW))
    behind = StepLosses(notes)
    behind.take(before.plain())
    read_losses(behind, [10.0] * WINDOW)
    assert "loss_explodes" in notes
    assert notes.found["loss_explodes"].step == 3 * WINDOW


def test_a_run_that_goes_on_behind_its_end_is_no_longer_said_to_have_ended_too_early():
    def progress(notes: Notes) -> Progress:
        return Progress(notes, "ndcg@10", True, None, lambda: None, is_control=False)

    notes = Notes()
    ended = progress(notes)
    for score in range(5):
        ended.add_score(score, 200)
    ended.end(200, is_exhausted=True)
    assert "ended_while_improving" in notes
    longer = Notes()
    longer.take(notes.plain())
    on = progress(longer)
    on.take(ended.plain())
    assert on.scores == ended.scores
    assert not longer.plain()

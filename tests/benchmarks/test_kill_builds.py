"""A killed build goes on to the store that an undisturbed one makes; the script's 100 kills, a few at a time."""

from __future__ import annotations

import pytest
from kill_builds import CASES, Case, Outcome, Undisturbed, kill_at_random, killed, look, resume

from recbole_pixel.store import array_writer, image_writer


@pytest.fixture(autouse=True)
def _settings(monkeypatch):
    """The script sets them for itself."""
    monkeypatch.setattr(image_writer, "BATCH_RECORDS", image_writer.BATCH_RECORDS)
    monkeypatch.setattr(array_writer, "SYNC_SECONDS", array_writer.SYNC_SECONDS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_kills_at_random_points_lose_nothing(case: Case, tmp_path):
    outcome = kill_at_random(case, tmp_path / "w", n_kills=4, seed=1)
    assert outcome.n_kills >= 4
    assert outcome.n_equal == outcome.n_builds >= 2
    assert outcome.n_wrong_at_kill == 0


@pytest.mark.parametrize("case", CASES[1:], ids=lambda case: case.name)
def test_a_kill_at_each_of_the_last_steps_loses_nothing(case: Case, tmp_path):
    """The manifest, the two renames, the removal of the older store."""
    usual, outcome = Undisturbed(case, tmp_path / "w"), Outcome()
    for event in range(usual.n_events - 13, usual.n_events + 1):
        path = case.prepare(tmp_path / "w")
        assert killed(case, path, event)
        look(case, path, usual, outcome)
        resume(case, tmp_path / "w", usual, outcome)
    assert outcome.n_equal == outcome.n_builds == 14
    assert outcome.n_wrong_at_kill == 0
    assert outcome.n_whole_at_kill >= 12, "all but between the two renames"

"""A run that was killed by SIGKILL goes on to the end of one that was not; the script's 20 kills, a few of them."""

from __future__ import annotations

from kill_training import kill_at_random
from noise_world import noise_world


def test_kills_at_random_points_lose_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    world = noise_world(tmp_path, n_users=60, n_items=40)
    outcome = kill_at_random("ids", world, tmp_path / "ids", n_kills=3, seed=0)
    assert outcome.n_kills >= 3
    assert outcome.n_equal == outcome.n_runs >= 1

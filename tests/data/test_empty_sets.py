from __future__ import annotations

import numpy as np
from recbole.sampler import RepeatableSampler
from worlds import random_rows, write_inter

from recbole_pixel.config import make_config
from recbole_pixel.data.empty_sets import shared_empty_sets
from recbole_pixel.data.tracked import TrackedSequentialDataset


def test_millions_of_users_share_one_empty_set():
    sets = shared_empty_sets(10**9)
    assert sets.shape == (10**9,)
    assert sets[7] is sets[10**9 - 1]
    assert len(sets[7]) == 0


def test_the_sampler_draws_as_with_sets_of_its_own(tmp_path, settings):
    write_inter(tmp_path, "w", random_rows(0, n_items=5))
    dataset = TrackedSequentialDataset(make_config("SASRec", "w", settings={**settings, "loss_type": "CE"}))
    sampler = RepeatableSampler(["train", "valid", "test"], dataset).set_phase("valid")
    assert sampler.used_ids.strides == (0,)
    users, items = np.array([1, 2, 3, 3]), np.array([1, 2, 3, 4])
    np.random.seed(0)
    drawn = sampler.sample_by_user_ids(users, items, 50).view(50, 4)
    assert set(drawn[:, 0].tolist()) == set(range(1, 6)) - {1}
    assert not (drawn.numpy() == items).any()

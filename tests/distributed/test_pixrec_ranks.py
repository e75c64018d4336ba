"""Two ranks train the PixRec that one process trains: contrasts are over the rows of both."""

from __future__ import annotations

import numpy as np
import pytest
import rank_work
from pair_world import pair_world, tiny_pixrec


def test_two_ranks_train_what_one_process_trains(ranks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pair_world(tmp_path, n_users=15)  # 45 rows: batches of 15, of which one rank has 8 and the other 7
    pair_world(tmp_path, "others", n_users=10, length=5)
    settings = {
        **tiny_pixrec(tmp_path),
        **{"tt_weight": 0.3, "ut_weight": 0.3, "train_batch_size": 15, "epochs": 1, "seed": 1},
        **{"learner": "sgd", "learning_rate": 0.1, "encoder_learning_rate": 0.1, "metric_decimal_place": 7},
        **{"show_progress": False, "state": "ERROR", "data_path": str(tmp_path)},
        **{"vlm_tune": "full", "gradient_cache_chunk": 3, "stage": "joint", "joint_datasets": ["others"]},
    }
    one = rank_work.train(tmp_path / "one", "PixRec", "pairs", settings)
    two = ranks(rank_work.train, tmp_path / "two", "PixRec", "pairs", settings)
    losses = np.mean([answer["losses"] for answer in two], axis=0)
    np.testing.assert_allclose(losses, one["losses"], atol=1e-4)
    for answer in two:
        for name, values in one["state"].items():
            np.testing.assert_allclose(answer["state"][name], values, atol=1e-4, err_msg=name)
        assert answer["result"]["test"] == pytest.approx(one["result"]["test"], abs=1e-4)
    assert np.ptp(one["losses"]) > 0.01, "something was learnt"

"""Two ranks write what one process writes of each user, each target and each cold item's occurrence."""

from __future__ import annotations

import numpy as np
import pytest
import rank_work
from worlds import colour_world

SETTINGS = {
    "item_tower": "id", "epochs": 1, "learner": "sgd", "precision": "float32", "cold_items": 0.2, "metrics": ["NDCG"],
    "metric_decimal_place": 7, "show_progress": False, "state": "ERROR", "seed": 1, "per_user": "each.npz",
    "hidden_size": 16, "inner_size": 16, "n_layers": 1, "n_heads": 1, "hidden_dropout_prob": 0.0,
    "attn_dropout_prob": 0.0, "embedding_size": 16, "eval_batch_size": 10, "topk": [5], "valid_metric": "NDCG@5",
}  # fmt: skip


@pytest.mark.parametrize("model", ["PixelSASRec", "PixelMF"])
def test_results_of_all_users_are_in_one_file(model, ranks, tmp_path, monkeypatch):
    colour_world(tmp_path, "w", n_users=33, n_items=30, length=8)
    monkeypatch.chdir(tmp_path)
    settings = {**SETTINGS, "data_path": str(tmp_path)}
    one = rank_work.train(tmp_path / "one", model, "w", settings)
    two = ranks(rank_work.train, tmp_path / "two", model, "w", settings)
    for answer in two:
        assert answer["result"]["popularity"] == one["result"]["popularity"]
        assert answer["result"]["cold"] == one["result"]["cold"]
    alone, shared = (np.load(tmp_path / folder / "each.npz") for folder in ("one", "two"))
    assert set(alone) == set(shared)
    assert len(alone["user"]) == 33
    assert len(alone["cold_user"]) == one["result"]["cold"]["cases"] > 20
    for name in alone:
        if alone[name].dtype.kind == "f":
            np.testing.assert_allclose(shared[name], alone[name], atol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(shared[name], alone[name], err_msg=name)
    assert alone["ndcg@5"].mean() == pytest.approx(one["result"]["test"]["ndcg@5"], abs=1e-6)

"""Two ranks train a recommender of pictures and texts as one process does, each encoding half of the items."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import rank_work
from test_training import SETTINGS, check_work_is_shared
from tiny_texts import save_text_model, without_parts, word_world


@pytest.mark.parametrize(("tower", "own"), [("image_text", {}), ("text", {}), ("image_text", {"own_vectors": True})])
def test_two_ranks_train_what_one_process_trains(ranks, tmp_path, monkeypatch, tower, own):
    monkeypatch.chdir(tmp_path)
    word_world(tmp_path, n_users=33, n_items=30, length=8)
    without_parts(tmp_path, "word", n_items=30)
    model = save_text_model(tmp_path / "bert")
    settings: dict[str, Any] = {
        **SETTINGS,
        "data_path": str(tmp_path),
        "item_tower": tower,
        "text_encoder": str(model),
        "text_tune": "frozen",
        "text_length": 8,
        "missing_image": "learnt",
        "missing_text": "learnt",
        "modality_dropout": 0.0,  # ranks draw what they hide, and noise, each by itself
        "feature_noise": 0.0,
        "batch_norm": "frozen",
        "projection_learning_rate": 0.01,
        "cold_items": 0.1,
        "health": False,  # the first rank alone encodes a few items for it
        **own,
    }
    one = rank_work.train(tmp_path / "one", "PixelSASRec", "word", settings)
    two = ranks(rank_work.train, tmp_path / "two", "PixelSASRec", "word", settings)
    np.testing.assert_allclose(np.mean([answer["losses"] for answer in two], axis=0), one["losses"], atol=1e-4)
    for answer in two:
        for name, values in one["state"].items():
            np.testing.assert_allclose(answer["state"][name], values, atol=1e-4, err_msg=name)
        assert answer["result"]["test"] == pytest.approx(one["result"]["test"], abs=1e-4)
        assert answer["result"]["cold"] == one["result"]["cold"]
    center = next(name for name in one["state"] if name.endswith("parts.text.standardising.center"))
    assert np.abs(one["state"][center]).max() > 0.1, "the scale was fitted"
    check_work_is_shared(one, two)

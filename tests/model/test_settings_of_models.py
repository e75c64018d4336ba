"""Numbers that a model cannot be made of are refused before it is built, by name."""

from __future__ import annotations

from typing import Any

import pytest
from worlds import random_rows, write_inter


@pytest.mark.parametrize(
    ("model", "own", "message"),
    [
        ("PixelDSSM", {"mlp_hidden_size": ["a"]}, r"mlp_hidden_size is \['a'\]; expected a list of widths"),
        ("PixelDSSM", {"mlp_hidden_size": [8, 0]}, r"mlp_hidden_size is \[8, 0\]"),
        ("PixelDSSM", {"embedding_size": 0}, "embedding_size is 0; expected 1 or more"),
        ("PixelDSSM", {"dropout_prob": 1.5}, "dropout_prob is 1.5; expected from 0 to 1"),
        ("PixelMF", {"embedding_size": -3}, "embedding_size is -3"),
        ("PixelSASRec", {"hidden_size": 0}, "hidden_size is 0"),
        ("PixelBERT4Rec", {"mask_ratio": 2}, "mask_ratio is 2; expected from 0 to 1"),
        ("PixelBERT4Rec", {"ft_ratio": -0.1}, "ft_ratio is -0.1; expected from 0 to 1"),
    ],
)
def test_numbers_that_no_model_has(tmp_path, settings: dict[str, Any], build, model, own, message):
    write_inter(tmp_path, "w", random_rows(0))
    with pytest.raises(ValueError, match=message):
        build("w", {**settings, "item_tower": "id", **own}, model)


@pytest.mark.parametrize(
    ("case", "own", "message"),
    [
        ("VisRank", {"similarities_at_a_time": 0}, "similarities_at_a_time is 0; expected 1 or more"),
        ("VBPR", {"visual_embedding_size": 0}, "visual_embedding_size is 0; expected 1 or more"),
        ("ACF", {"attention_size": 0}, "attention_size is 0; expected 1 or more"),
        ("ACF", {"encoder_chunk": 0}, "encoder_chunk is 0; expected 1 or more"),
        ("ACF", {"standardise_features": True}, "standardise_features is True; ACF reads components as they are"),
    ],
)
def test_numbers_that_no_model_of_stored_features_has(small, build, case, own, message):
    name, asked = small(case, **own)
    with pytest.raises(ValueError, match=message):
        build("colour", asked, name)

"""Items read by vision-language models, served from checkpoints that hold what learnt alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pair_world import pair_world, tiny_pixrec, title
from served_world import save_untrained
from tiny_vlms import SIDE, save_tiny, save_tiny_dual

from recbole_pixel import load

SMALL: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "inner_size"), 16),
    "n_layers": 1,
    "n_heads": 1,
    "item_text": "{title}",
    "text_length": 8,
    "precision": "float32",
    "MAX_ITEM_LIST_LENGTH": 4,
    "item_tower": "vlm",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pairs")
    pair_world(path, n_users=8)
    save_tiny("smolvlm", path / "smolvlm")
    save_tiny_dual("clip", path / "clip")
    return path


@pytest.fixture
def served_vlm(folder, settings, build) -> Callable[..., Any]:
    """A function that makes a checkpoint and loads it: (recommender, model, loaders)."""

    def made(family: str, model: str = "PixelSASRec", **own: Any) -> Any:
        kept = {key: settings[key] for key in ("show_progress", "state", "seed", "checkpoint_dir")}
        asked = {**kept, **SMALL, "data_path": str(folder), "vlm": str(folder / family), **own}
        config, network, loaders = build("pairs", {**asked, "vlm_image_size": SIDE.get(family)}, model)
        path = save_untrained(Path(settings["checkpoint_dir"]) / "model.pth", config, network.eval())
        return load(path, history="train", device="cpu"), network, loaders

    return made


@torch.no_grad()
def largest_difference(recommender: Any, model: Any, test: Any) -> float:
    """Between the scores of the test evaluation and the recommender's."""
    tokens, found = test.dataset.field2id_token["user_id"], []
    for rows, *_ in test:
        expected = model.full_sort_predict(rows).view(len(rows), -1)[:, 1:].numpy()
        found.append(np.abs(expected - recommender.scores([str(tokens[user]) for user in rows["user_id"]])).max())
    return float(max(found))


@pytest.mark.parametrize(("family", "tune"), [("smolvlm", "lora:4"), ("smolvlm", "frozen"), ("clip", "frozen")])
def test_an_items_picture_and_title_give_its_own_vector(served_vlm, folder, family, tune):
    recommender, model, (_, _, test) = served_vlm(family, vlm_tune=tune)
    assert largest_difference(recommender, model, test) < 1e-5
    own = recommender.item_vectors()[recommender.items.index("b3")]
    picture = folder / "pairs-pictures" / "b3.png"
    np.testing.assert_allclose(recommender.new_item(picture, title(3))[0], own, atol=1e-5)
    assert np.abs(recommender.new_item(picture)[0] - own).max() > 1e-4
    assert recommender.score_new(picture, title(3), topk=1)[0].items == ["b3"]


def test_prompts_of_histories_are_ranked_and_items_outside_of_the_dataset_refused(served_vlm, folder):
    own = {key: value for key, value in tiny_pixrec(folder).items() if key != "vlm"}
    recommender, model, (_, _, test) = served_vlm("smolvlm", "PixRec", **own)
    assert largest_difference(recommender, model, test) < 1e-5
    history = recommender.history("u1")
    assert recommender.recommend_for([history])[0].items == recommender.recommend("u1")[0].items
    with pytest.raises(NotImplementedError, match="PixRec reads items in prompts"):
        recommender.new_item(folder / "pairs-pictures" / "b3.png")

"""A dataset with bad pictures, from the files to the metrics, under each `missing_image`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from worlds import colour_cover, write_inter

from recbole_pixel.store import ImageStore, build_image_store, open_source

N_USERS, N_ITEMS, LENGTH = 10, 12, 6
BAD = {"i3": b"<html>404</html>", "i8": b"", "i5": b"\xff\xd8\xff\xe0 not much of a JPEG"}


@pytest.fixture
def wild(tmp_path, settings) -> dict[str, Any]:
    """Settings of a world of twelve items, three of whose files are no pictures."""
    rows = [
        (f"u{user}", f"i{(user + step) % N_ITEMS}", float(step)) for user in range(N_USERS) for step in range(LENGTH)
    ]
    write_inter(tmp_path, "w", rows)
    covers, rng = tmp_path / "covers", np.random.default_rng(0)
    covers.mkdir()
    for item in range(N_ITEMS):
        Image.fromarray(colour_cover(rng, item % 2 == 0)).save(covers / f"i{item}.png")
    for token, content in BAD.items():
        (covers / f"{token}.png").write_bytes(content)
    report = build_image_store(open_source(covers), tmp_path / "w" / "images.lmdb", size=32, progress=False)
    assert set(report.bad) == set(BAD)
    return {**settings, "projection_scale": 1.0, "epochs": 1, "eval_step": 1}


def trained(build: Any, wild: dict[str, Any], policy: str) -> tuple[Any, Any, float]:
    """The model and the dataset after an epoch under a policy, and the loss of one step of it."""
    from recbole.utils import get_trainer

    config, model, (train, valid, _) = build("w", {**wild, "missing_image": policy})
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    _, result = trainer.fit(train, valid, saved=False, show_progress=False)
    assert 0 <= result["ndcg@10"] <= 1
    return model, train._dataset, float(trainer.train_loss_dict[0])


def test_error_stops_before_training_and_names_the_items(wild, build):
    with pytest.raises(
        LookupError, match=r"3 of 12 items have no picture, e.g. \['i3', 'i5', 'i8'\]; see `recbole-pixel"
    ):
        trained(build, wild, "error")


@pytest.mark.parametrize("policy", ["mean", "learnt"])
def test_mean_and_learnt_keep_every_interaction(wild, build, policy: str):
    model, dataset, loss = trained(build, wild, policy)
    assert np.isfinite(loss)
    assert dataset.item_num == N_ITEMS + 1
    tokens = dataset.field2id_token["item_id"].tolist()
    table = model.eval().item_embedding.weight
    shown = torch.stack([table[tokens.index(token)] for token in BAD])
    assert torch.equal(shown, shown[:1].expand_as(shown)), "those without a picture look alike"
    own = torch.stack([table[i] for i, token in enumerate(tokens) if i and token not in BAD])
    assert (own - shown[0]).abs().amax(1).min() > 0, "and like no other"


def test_drop_removes_the_interactions_and_nothing_else(wild, build):
    _, dataset, loss = trained(build, wild, "drop")
    assert np.isfinite(loss)
    tokens = set(dataset.field2id_token["item_id"])
    assert tokens == {"[PAD]", *(f"i{item}" for item in range(N_ITEMS))} - set(BAD)
    seen = {f"i{(user + step) % N_ITEMS}" for user in range(N_USERS) for step in range(LENGTH)}
    assert set(BAD) <= seen
    assert dataset.inter_num < N_USERS * LENGTH
    assert set(ImageStore(wild["data_path"] + "/w/images.lmdb").manifest["bad"]) == set(BAD)


def test_without_any_picture_left_the_reason_is_said(tmp_path, wild, build):
    write_inter(tmp_path, "w", [(f"u{user}", token, 1.0) for user in range(4) for token in BAD])
    with pytest.raises(ValueError, match=r"missing_image is drop, and none of the 3 items has pictures, e\.g\. 'i3'"):
        trained(build, wild, "drop")

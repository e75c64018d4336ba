"""Worlds whose taste is visual: a pixel model must see it in pictures nobody consumed, and an ID model cannot."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.utils import get_trainer
from worlds import colour_world, mark_world

COLOUR = {
    "epochs": 5,
    "learning_rate": 0.003,
    "encoder_learning_rate": 0.001,
    "batch_norm": "train",
    "projection_scale": 0.1,
}


class _Trained(Exception):
    """Leaves a training that has done its work."""


def trained(build: Any, name: str, settings: dict[str, Any], stop: Any = None) -> Any:
    """(model, loaders, trainer) after training, or after the epoch at which ``stop(model, dataset)`` holds."""
    config, model, loaders = build(name, settings)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    train_epoch = trainer._train_epoch

    def train_epoch_and_look(*args: Any, **kwargs: Any) -> float:
        loss = train_epoch(*args, **kwargs)
        if stop is not None and stop(model.eval(), loaders[0]._dataset):
            raise _Trained
        return loss

    trainer._train_epoch = train_epoch_and_look
    with suppress(_Trained):
        trainer.fit(loaders[0], loaders[1], saved=False, verbose=False)
    return model.eval(), loaders, trainer


@torch.no_grad()
def user_scores(model: Any, dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of all users of the world and their scores of all items after everything they consumed, (B, N)."""
    tokens = dataset.field2id_token["user_id"]
    users = [user for user in range(1, dataset.user_num) if not tokens[user].startswith("only")]
    histories = [dataset.histories.items[dataset.histories.users == user][-10:] for user in users]
    rows = torch.zeros(len(users), 10, dtype=torch.long)
    for row, history in zip(rows, histories, strict=True):
        row[: len(history)] = torch.from_numpy(history)
    interaction = Interaction({"item_id_list": rows, "item_length": (rows > 0).sum(1)})
    return tokens[users], model.full_sort_predict(interaction).numpy()


def share_of_taste(model: Any, dataset: Any) -> float:
    """How many users rank the unseen cover of their colour above the other one."""
    names, scores = user_scores(model, dataset)
    items = dataset.field2token_id["item_id"]
    prefers_red = scores[:, items["r_new"]] > scores[:, items["b_new"]]
    likes_red = np.array([int(name[1:]) % 2 == 0 for name in names])
    return float((prefers_red == likes_red).mean())


@pytest.mark.parametrize("loss", [{"loss_type": "CE"}, {"loss_type": "BPR"}], ids=["CE", "BPR"])
@pytest.mark.parametrize(("train_rows", "batch_size"), [("sequence", 16), ("prefix", 72)])
def test_a_pixel_model_ranks_an_unseen_red_cover_above_a_blue_one_for_who_likes_red(
    tmp_path, settings, build, loss, train_rows, batch_size
):
    name = colour_world(tmp_path)
    model, loaders, _ = trained(
        build, name, {**settings, **COLOUR, **loss, "train_rows": train_rows, "train_batch_size": batch_size}
    )
    share = share_of_taste(model, loaders[0]._dataset)
    assert share > 0.9


def test_content_that_predicts_own_vectors_ranks_an_unseen_red_cover_above_a_blue_one_too(tmp_path, settings, build):
    """What was consumed has vectors of its own; the unseen covers have none, and are what the others' covers tell."""
    name = colour_world(tmp_path)
    own = {"own_vectors": True, "learning_rate": 0.01, "encoder_learning_rate": 0.003, "epochs": 10}
    model, loaders, _ = trained(build, name, {**settings, **COLOUR, **own})
    dataset, tower = loaders[0]._dataset, model.item_tower.eval()
    unseen = torch.tensor([0, *(dataset.field2token_id["item_id"][token] for token in ("r_new", "b_new"))])
    assert share_of_taste(model, dataset) > 0.9
    assert tower.own.counts[unseen].tolist() == [0, 0, 0]
    assert not tower.own.table.weight[unseen].any()
    seen = tower.own.counts > 0
    assert seen.sum() > 50
    assert torch.equal(tower.weight[seen], tower.own.table.weight[seen])


@pytest.mark.parametrize(
    ("model", "own", "why"),
    [
        ("PixelSASRec", {"item_tower": "id"}, "with item_tower id an item is its own vector already"),
        ("VBPR", {"item_tower": "features"}, "it keeps numbers of each item: item_factors, item_bias"),
    ],
)
def test_own_vectors_are_refused_where_there_are_some_already(tmp_path, settings, build, model, own, why):
    name = colour_world(tmp_path, n_users=4, n_items=8, length=4)
    asked = {**settings, **own, "train_rows": "auto", "loss_type": "auto", "own_vectors": True}
    with pytest.raises(ValueError, match=f"own_vectors is True, but {model} cannot have them: {why}"):
        build(name, asked, model)


def test_an_id_model_cannot(tmp_path, settings, build):
    """It learns the taste for what was consumed; of two covers nobody consumed it says the same to everybody."""
    name = colour_world(tmp_path)
    model, loaders, _ = trained(build, name, {**settings, "item_tower": "id", "learning_rate": 0.01, "epochs": 10})
    dataset = loaders[0]._dataset
    names, scores = user_scores(model, dataset)
    red = [
        item for token, item in dataset.field2token_id["item_id"].items() if token[0] == "i" and int(token[1:]) % 2 == 0
    ]
    blue = [item for token, item in dataset.field2token_id["item_id"].items() if token[0] == "i" and int(token[1:]) % 2]
    likes_red = np.array([int(name[1:]) % 2 == 0 for name in names])
    prefers_red = scores[:, red].mean(1) > scores[:, blue].mean(1)
    assert (prefers_red == likes_red).mean() > 0.95, "it did learn"
    share = share_of_taste(model, dataset)
    assert 0.2 < share < 0.8


def test_a_pixel_model_of_shuffled_pictures_cannot(tmp_path, settings, build):
    name = colour_world(tmp_path)
    shares = []
    for seed in (1, 2, 3):
        own = {**settings, **COLOUR, "shuffle_images": True, "epochs": 3, "seed": seed}
        model, loaders, _ = trained(build, name, own)
        shares.append(share_of_taste(model, loaders[0]._dataset))
    assert 0.2 < np.mean(shares) < 0.8, shares


def counted(tower: Any) -> list[int]:
    """How many items each pass of the encoder gets, from now on."""
    sizes: list[int] = []
    encode = tower.encode
    tower.encode = lambda arrays: (sizes.append(len(arrays)), encode(arrays))[1]
    return sizes


def test_items_are_encoded_once_a_step_and_once_an_evaluation(tmp_path, settings, build):
    name = colour_world(tmp_path)
    config, model, loaders = build(name, {**settings, "epochs": 2})
    sizes = counted(model.item_embedding)
    planned = [len(batch["catalogue_id"]) - 1 for _ in range(2) for batch in loaders[0]]
    loaders[0].epoch = 0
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    trainer.fit(loaders[0], None, saved=False, verbose=False)
    assert sizes == planned
    assert sum(sizes) == sum(trainer.epoch_encoded)
    config, model, (_, valid, _) = build(name, {**settings, "eval_batch_size": 7, "encoder_chunk": 25})
    sizes = counted(model.item_embedding)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    assert len(valid) > 3
    trainer.evaluate(valid, load_best_model=False)
    assert sizes == [25, 25, 12], "62 items in chunks, once for all batches, without the padding"


MARK = {
    "encoder": "tf_efficientnet_lite0",
    "image_size": 64,
    "learning_rate": 0.003,
    "encoder_learning_rate": 0.0001,
    "projection_scale": 0.1,
    "train_batch_size": 8,
    "precision": "float32",
}


def share_of_pairs(model: Any, dataset: Any, items: str) -> float:
    """How often a user scores an item with their mark above one with the other; ``items`` begins the items' tokens."""
    names, scores = user_scores(model, dataset)
    marked = {
        item: int(token[len(items) :]) % 2
        for token, item in dataset.field2token_id["item_id"].items()
        if token.startswith(items)
    }
    upright, level = ([item for item, odd in marked.items() if odd == kind] for kind in (0, 1))
    prefers_upright = scores[:, upright][:, :, None] > scores[:, level][:, None, :]
    likes_upright = np.array([int(name[1:]) % 2 == 0 for name in names])[:, None, None]
    return float((prefers_upright == likes_upright).mean())


@pytest.mark.slow
def test_a_mark_that_a_frozen_encoder_barely_shows_is_learnt_by_tuning_it_all(tmp_path, settings, build, lite0):
    """Both fit the items they train on; only the tuned encoder has learnt what to look at in new ones."""
    name = mark_world(tmp_path)
    shares = {}
    for tune in ("frozen", "full"):
        own = {**settings, **MARK, "encoder_weights": lite0, "tune": tune, "epochs": 14}
        model, loaders, _ = trained(build, name, own, stop=fits_its_items)
        shares[tune] = {items: share_of_pairs(model, loaders[0]._dataset, items) for items in ("i", "new")}
    assert shares["frozen"]["i"] > 0.8, shares
    assert abs(shares["frozen"]["new"] - 0.5) < 0.2, shares
    assert shares["full"]["new"] > 0.8, shares


def fits_its_items(model: Any, dataset: Any) -> bool:
    """Whether it is time to stop, by the items of training alone: seeds differ in when tuning takes off."""
    return share_of_pairs(model, dataset, "i") > 0.96

"""PixelMF, PixelLightGCN and other general classes of RecBole: equal to their parents, and able to see."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.model.general_recommender.bpr import BPR
from recbole.model.general_recommender.convncf import ConvNCF
from recbole.model.general_recommender.dgcf import DGCF
from recbole.model.general_recommender.dmf import DMF
from recbole.model.general_recommender.enmf import ENMF
from recbole.model.general_recommender.fism import FISM
from recbole.model.general_recommender.lightgcn import LightGCN
from recbole.model.general_recommender.line import LINE
from recbole.model.general_recommender.neumf import NeuMF
from recbole.model.general_recommender.ngcf import NGCF
from recbole.model.general_recommender.simplex import SimpleX
from recbole.model.general_recommender.spectralcf import SpectralCF
from recbole.utils import get_trainer
from torch import nn
from torch.nn import functional as F
from worlds import colour_world, random_rows, write_inter

from recbole_pixel import registry
from recbole_pixel.model.pair_mixin import PairMixin, WholeCatalogueMixin
from recbole_pixel.store import ArrayStoreWriter

SIZE = 16
PARENTS = {"PixelMF": BPR, "PixelLightGCN": LightGCN}


class PixelLINE(PairMixin, LINE):
    """LINE of first-order proximity (``order: 1``); the second order has a table of contexts, by item."""


class PixelConvNCF(PairMixin, ConvNCF):
    """ConvNCF whose items are pictures; its L2 term is on the vectors of the step."""


class PixelNGCF(WholeCatalogueMixin, NGCF):
    """NGCF whose items are features."""


class PixelSpectralCF(WholeCatalogueMixin, SpectralCF):
    """SpectralCF whose items are features."""


class PixelDGCF(WholeCatalogueMixin, DGCF):
    """DGCF whose items are features."""


FURTHER: dict[type, tuple[type, dict[str, Any]]] = {
    PixelLINE: (LINE, {"order": 1}),
    PixelNGCF: (NGCF, {"hidden_size_list": [SIZE], "node_dropout": 0.0, "message_dropout": 0.0}),
    PixelSpectralCF: (SpectralCF, {"n_layers": 2}),
    PixelDGCF: (DGCF, {"n_factors": 2, "n_layers": 1, "train_batch_size": 16}),
}


def write_rows(folder: Any, tokens: list[str], rows: np.ndarray) -> str:
    path = folder / "rows.array"
    with ArrayStoreWriter(path, tokens, rows.shape[1:], np.dtype(np.float32), {}) as writer:
        writer.write(0, rows.astype(np.float32))
    return str(path)


@pytest.fixture
def add() -> Any:
    """A function that registers a class, which is taken out again after the test."""
    added = []

    def registered(model_class: type) -> str:
        registry.add_model(model_class)
        added.append(model_class.__name__)
        return added[-1]

    yield registered
    for name in added:
        registry.MODELS.pop(name)


@pytest.fixture
def lookup(tmp_path, settings, build) -> Callable[..., Any]:
    """A function that makes (pixel model, RecBole's class of equal weights, loaders).

    ``item_tower`` is ``id``, or ``features``: rows of RecBole's table in a store, passed on by an identity.
    """
    write_inter(tmp_path, "w", random_rows(1))
    rows = np.random.default_rng(0).normal(0, 0.5, (40, SIZE))
    store = write_rows(tmp_path, [f"i{item}" for item in range(40)], rows)

    def made(model: str, parent: type, item_tower: str, **own: Any) -> Any:
        asked = {**settings, "embedding_size": SIZE, "item_tower": item_tower, "features": store, **own}
        config, pixel, loaders = build("w", {**asked, "standardise_features": False}, model)
        with torch.no_grad():
            for parameter in pixel.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        torch.manual_seed(0)
        stock = parent(copy.copy(config), loaders[0]._dataset)
        state = pixel.state_dict()
        if item_tower == "features":
            pixel.item_embedding.projection = nn.Identity()
            state = {**pixel.state_dict(), "item_embedding.weight": pixel.eval().item_embedding.weight.clone()}
        stock.load_state_dict(state)
        return pixel.train(), stock.train(), loaders

    return made


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool((one - other).abs().max() <= 1e-5)


def loss_of(model: Any, batch: Any) -> torch.Tensor:
    """A model's loss, all its parts together; its own samples are those of one seed."""
    torch.manual_seed(3)
    random.seed(3)
    loss = model.calculate_loss(batch)
    return torch.stack([part.sum() for part in loss]).sum() if isinstance(loss, tuple) else loss.sum()


@pytest.mark.parametrize("model", PARENTS)
@pytest.mark.parametrize("item_tower", ["id", "features"])
def test_loss_gradients_and_scores_are_recboles(lookup, model, item_tower):
    pixel, stock, loaders = lookup(model, PARENTS[model], item_tower)
    assert_equal(pixel, stock, loaders, item_tower)


@pytest.mark.parametrize("model_class", FURTHER)
@pytest.mark.parametrize("item_tower", ["id", "features"])
def test_other_general_classes_equal_their_parents(lookup, add, model_class, item_tower):
    parent, own = FURTHER[model_class]
    pixel, stock, loaders = lookup(add(model_class), parent, item_tower, **own)
    assert_equal(pixel, stock, loaders, item_tower)


def assert_equal(pixel: Any, stock: Any, loaders: Any, item_tower: str) -> None:
    """The same loss in every batch, the same gradients, the same scores."""
    train, *held_out = loaders
    n_batches = 0
    for batch in train:
        ours, theirs = (loss_of(model, batch) for model in (pixel, stock))
        assert ours.item() > 0.05
        assert close(ours, theirs)
        n_batches += 1
    assert n_batches > 5
    for model, loss in ((pixel, ours), (stock, theirs)):
        model.zero_grad()
        loss.backward()
    stocks = {name: parameter for name, parameter in stock.named_parameters() if parameter.grad is not None}
    compared = [name for name, p in pixel.named_parameters() if name in stocks and close(p.grad, stocks[name].grad)]
    assert len(compared) == len(stocks) - (item_tower == "features")
    for model in (pixel, stock):
        model.eval()
    for loader in held_out:
        for interaction, *_ in loader:
            scores = pixel.full_sort_predict(interaction)
            assert scores.abs().max() > 0.05
            assert close(scores, stock.full_sort_predict(interaction))
            pairs = Interaction({**interaction.interaction, "item_id": torch.arange(len(interaction["user_id"])) % 40})
            assert close(pixel.predict(pairs), stock.predict(pairs))


@pytest.mark.parametrize("item_tower", ["id", "features"])
def test_bce_is_its_formula(lookup, item_tower):
    pixel, stock, (train, *_) = lookup("PixelMF", BPR, item_tower, loss_type="BCE")
    for batch in train:
        users = stock.user_embedding.weight[batch["user_id"]]
        positive, negative = (
            (users * stock.item_embedding.weight[batch[field]]).sum(1).sigmoid() for field in ("item_id", "neg_item_id")
        )
        assert close(pixel.calculate_loss(batch), -(positive.log() + (1 - negative).log()).mean())


@pytest.mark.parametrize("mask", ["auto", False])
def test_sampled_ce_is_its_formula(lookup, mask):
    """By hand: softmax over the step's items, less log q, without what the user consumed in training."""
    pixel, stock, (train, *_) = lookup(
        "PixelMF", BPR, "features", loss_type="CE", extra_candidates=4, mask_collisions=mask
    )
    pairs = train._dataset.pairs
    n_masked = 0
    for batch in train:
        ids, log_q, losses = batch["catalogue_id"].tolist(), batch["catalogue_log_q"], []
        for user, target in zip(batch["user_id"].tolist(), batch["item_id"].tolist(), strict=True):
            own = set(pairs.items[pairs.users == user].tolist()) - {target} if mask else set()
            ranked = [place for place, item in enumerate(ids) if item and item not in own]
            n_masked += len(ids) - 1 - len(ranked)
            logits = stock.item_embedding.weight[[ids[place] for place in ranked]] @ stock.user_embedding.weight[user]
            place = [ids[place] for place in ranked].index(target)
            losses.append(F.cross_entropy((logits - log_q[ranked])[None], torch.tensor([place])))
        assert close(pixel.calculate_loss(batch), torch.stack(losses).mean())
    assert (n_masked > 0) == (mask == "auto")


def test_ce_over_all_items_is_its_formula(lookup):
    pixel, stock, (train, *_) = lookup("PixelMF", BPR, "id", loss_type="CE")
    for batch in train:
        logits = stock.user_embedding.weight[batch["user_id"]] @ stock.item_embedding.weight.T
        assert close(pixel.calculate_loss(batch), F.cross_entropy(logits, batch["item_id"]))


def test_scores_do_not_depend_on_the_order_of_the_batch(lookup):
    for model, parent in PARENTS.items():
        pixel, _, (_, _, test) = lookup(model, parent, "features")
        interaction = next(iter(test))[0]
        n_users = len(interaction["user_id"])
        scores = pixel.eval().full_sort_predict(interaction).view(n_users, -1)
        order = torch.randperm(n_users)
        moved = pixel.full_sort_predict(Interaction({"user_id": interaction["user_id"][order]})).view(n_users, -1)
        assert close(moved, scores[order])


@pytest.fixture
def colours(tmp_path, settings, monkeypatch) -> tuple[str, dict[str, Any]]:
    """The colour world, its two unseen covers held out; as features, the covers' colours in eight dimensions."""
    name = colour_world(tmp_path)
    monkeypatch.setattr(
        "recbole_pixel.data.items.draw_cold_items", lambda tokens, *_: np.isin(tokens, ["r_new", "b_new"])
    )
    rng = np.random.default_rng(0)
    tokens = [*(f"i{item}" for item in range(60)), "r_new", "b_new"]
    is_red = np.array([item % 2 == 0 for item in range(60)] + [True, False])
    features = np.where(is_red, 1.0, -1.0)[:, None] * rng.normal(size=8) + 0.3 * rng.normal(size=(62, 8))
    store = write_rows(tmp_path, tokens, features)
    own = {
        "epochs": 30,
        "learning_rate": 0.01,
        "encoder_learning_rate": 0.003,
        "batch_norm": "train",
        "features": store,
    }
    return name, {**settings, **own, "train_batch_size": 64, "embedding_size": SIZE}


def trained(build: Any, name: str, settings: dict[str, Any], model: str) -> tuple[Any, Any]:
    config, network, loaders = build(name, settings, model)
    trainer = get_trainer(config["MODEL_TYPE"], model)(config, network)
    trainer.fit(loaders[0], None, saved=False, verbose=False)
    return network.eval(), loaders[0]._dataset


@torch.no_grad()
def share_of_taste(model: Any, dataset: Any) -> float:
    """How many users rank the unseen cover of their colour above the other one."""
    tokens = dataset.field2id_token["user_id"]
    users = [user for user in range(1, dataset.user_num) if not tokens[user].startswith("only")]
    scores = model.full_sort_predict(Interaction({"user_id": torch.tensor(users)})).view(len(users), -1).numpy()
    items = dataset.field2token_id["item_id"]
    likes_red = np.array([int(tokens[user][1:]) % 2 == 0 for user in users])
    return float(((scores[:, items["r_new"]] > scores[:, items["b_new"]]) == likes_red).mean())


@pytest.mark.parametrize(
    ("model", "own"),
    [
        ("PixelMF", {"item_tower": "image", "loss_type": "BPR", "epochs": 8, "train_batch_size": 150}),
        ("PixelMF", {"item_tower": "image", "loss_type": "CE", "epochs": 8, "train_batch_size": 150}),
        ("PixelMF", {"item_tower": "features"}),
        ("PixelLightGCN", {"item_tower": "features", "epochs": 10}),  # later its user table learns the rest by heart
    ],
    ids=["MF-image-BPR", "MF-image-CE", "MF-features", "LightGCN-features"],
)
def test_an_unseen_red_cover_stands_above_a_blue_one_for_who_likes_red(build, colours, model, own):
    name, settings = colours
    network, dataset = trained(build, name, {**settings, **own}, model)
    assert share_of_taste(network, dataset) > 0.9


@pytest.mark.parametrize("model", PARENTS)
def test_an_id_model_cannot(build, colours, model):
    name, settings = colours
    network, dataset = trained(build, name, {**settings, "item_tower": "id"}, model)
    assert 0.2 < share_of_taste(network, dataset) < 0.8


@pytest.mark.parametrize(
    ("model", "item_tower"),
    [
        ("PixelMF", "id"),
        ("PixelMF", "image"),
        ("PixelMF", "features"),
        ("PixelLightGCN", "id"),
        ("PixelLightGCN", "features"),
    ],
)
@pytest.mark.parametrize("loss_type", ["BPR", "CE", "BCE"])
def test_what_should_learn_has_a_gradient(build, colours, model, item_tower, loss_type):
    name, settings = colours
    own = {"item_tower": item_tower, "loss_type": loss_type}
    if model == "PixelLightGCN" and loss_type != "BPR":
        with pytest.raises(ValueError, match=f"loss_type is '{loss_type}'; PixelLightGCN expected one of BPR"):
            build(name, {**settings, **own}, model)
        return
    _, network, (train, *_) = build(name, {**settings, **own}, model)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.rand_like(parameter) * 0.05)
    network.train().calculate_loss(next(iter(train))).sum().backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


def test_items_are_encoded_once_a_step_and_a_history_never(build, colours):
    name, settings = colours
    config, network, (train, *_) = build(name, {**settings, "item_tower": "image", "epochs": 2}, "PixelMF")
    planned = [len(batch["catalogue_id"]) - 1 for _ in range(2) for batch in train]
    train.epoch = 0
    trainer = get_trainer(config["MODEL_TYPE"], "PixelMF")(config, network)
    trainer.fit(train, None, saved=False, verbose=False)
    assert sum(planned) == sum(trainer.epoch_encoded)
    assert max(planned) <= 60


def test_lightgcn_reads_its_store_once(build, colours):
    name, settings = colours
    config, network, (train, *_) = build(name, {**settings, "item_tower": "features", "epochs": 3}, "PixelLightGCN")
    inputs, fetched = network.item_tower.inputs, []
    fetch = inputs.fetch
    inputs.fetch = lambda ids, out=None: (fetched.append(len(ids)), fetch(ids, out))[1]
    config["standardise_features"] = False
    trainer = get_trainer(config["MODEL_TYPE"], "PixelLightGCN")(config, network)
    trainer.tower.fit_standardising = lambda: None
    trainer.fit(train, None, saved=False, verbose=False)
    assert fetched == [62], "not once a step, and nothing by the loader"


@pytest.mark.parametrize("item_tower", ["id", "features"])
def test_lightgcn_learns_under_bf16(build, colours, item_tower):
    """The default on accelerators; sparse products have no backward pass in it."""
    name, settings = colours
    own = {**settings, "item_tower": item_tower, "epochs": 1, "precision": "bf16"}
    before = build(name, own, "PixelLightGCN")[1].user_embedding.weight.clone()
    after = trained(build, name, own, "PixelLightGCN")[0].user_embedding.weight
    assert after.isfinite().all()
    assert not torch.equal(before, after)


def test_a_graph_model_of_pictures_says_why_not(build, colours):
    name, settings = colours
    with pytest.raises(ValueError, match=r"each step.*features extract.*item_tower: features"):
        build(name, {**settings, "item_tower": "image"}, "PixelLightGCN")


REFUSED: dict[type, tuple[dict[str, Any], str]] = {
    NeuMF: ({}, "no item embedding 'item_embedding'.*item_mf_embedding, item_mlp_embedding"),
    FISM: ({}, "no item embedding 'item_embedding'.*item_src_embedding, item_dst_embedding"),
    DMF: ({}, "no item embedding 'item_embedding'"),
    ENMF: ({}, "ENMF trains on pointwise data"),
    LINE: ({}, "item_context_embedding"),
    NGCF: ({"item_tower": "features"}, "sees the items of its batch only"),
    SimpleX: ({}, "SimpleX failed with TypeError"),
}


@pytest.mark.parametrize("parent", REFUSED, ids=lambda parent: parent.__name__)
def test_where_it_cannot_work_the_error_says_why(tmp_path, settings, build, add, parent):
    write_inter(tmp_path, "w", random_rows(1))
    store = write_rows(tmp_path, [f"i{item}" for item in range(40)], np.ones((40, 4)))
    own, message = REFUSED[parent]
    table = {SimpleX: "item_emb"}.get(parent, "item_embedding")
    name = add(type(f"PixelNo{parent.__name__}", (PairMixin, parent), {"item_table": table}))
    with pytest.raises(TypeError, match=message):
        build("w", {**settings, "item_tower": "id", "features": store, **own}, name)


def test_a_general_class_wants_the_mixin_for_pairs(tmp_path, settings, build, add):
    from recbole_pixel.model.pixel_mixin import PixelMixin

    with pytest.raises(TypeError, match="PairMixin"):
        registry.add_model(type("PixelWrongMF", (PixelMixin, BPR), {}))
    assert "PixelWrongMF" not in registry.MODELS


def test_a_class_of_ones_own_runs_on_pictures_by_our_command(tmp_path, colours, add):
    """ConvNCF has no full_sort_predict: RecBole scores pair by pair, from the table that was encoded once."""
    from recbole_pixel.quick_start import run

    name, settings = colours
    own = {"item_tower": "image", "epochs": 2, "embedding_size": 8, "cnn_channels": [1, 4, 4], "cnn_kernels": [2, 2]}
    result = run(add(PixelConvNCF), name, settings={**settings, **own, "cnn_strides": [2, 2]})
    assert result["pictures_per_epoch"] > 60
    assert set(result["test"]) == {"recall@10", "ndcg@10"}

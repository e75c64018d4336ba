"""A pixel model whose tower is a table is RecBole's model: the same loss, the same scores."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.model.sequential_recommender.sasrec import SASRec
from tiny_models import unrolled
from torch import nn
from torch.nn import functional as F
from worlds import colour_world, random_rows, write_inter

from recbole_pixel.data.loader import CATALOGUE_ID
from recbole_pixel.store import ArrayStoreWriter

TOLERANCE = 1e-5
SIZE = 16
LOSSES = {"BPR": {"loss_type": "BPR"}, "CE": {"loss_type": "CE", "extra_candidates": "all"}}


@pytest.fixture
def lookup(tmp_path, settings, build) -> Callable[..., Any]:
    """A function that makes (pixel model, RecBole's SASRec of equal weights, loaders, config).

    ``item_tower`` is ``id``, or ``features``: rows of RecBole's table in a store, passed on by an identity.
    """
    write_inter(tmp_path, "w", random_rows(1, longest=10))
    rng = np.random.default_rng(0)
    tokens = [f"i{item}" for item in range(40)]
    with ArrayStoreWriter(tmp_path / "rows.array", tokens, (SIZE,), np.dtype(np.float32), {}) as writer:
        writer.write(0, rng.normal(0, 0.5, (40, SIZE)).astype(np.float32))

    def made(item_tower: str, **own: Any) -> Any:
        asked = {**settings, "item_tower": item_tower, "features": str(tmp_path / "rows.array"), **own}
        config, pixel, loaders = build("w", {**asked, "standardise_features": False})
        with torch.no_grad():
            for parameter in pixel.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)  # away from the start, where states are near zero
        theirs = copy.copy(config)
        theirs.final_config_dict = {
            **config.final_config_dict,
            "loss_type": "CE" if own.get("loss_type") == "CE" else "BPR",
        }
        stock = SASRec(theirs, loaders[0]._dataset)
        if item_tower == "features":
            pixel.item_embedding.projection = nn.Identity()
            table = pixel.eval().item_embedding.weight.clone()
            stock.load_state_dict({**pixel.state_dict(), "item_embedding.weight": table})
        else:
            stock.load_state_dict(pixel.state_dict())
        return pixel, stock, loaders, config

    return made


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool((one - other).abs().max() <= TOLERANCE)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("item_tower", ["id", "features"])
def test_prefix_rows_give_recboles_loss_and_gradients(lookup, item_tower, loss):
    pixel, stock, (train, _, _), _ = lookup(item_tower, train_rows="prefix", **LOSSES[loss])
    pixel.train()
    stock.train()
    n_batches = 0
    for batch in train:
        ours, theirs = pixel.calculate_loss(batch), stock.calculate_loss(batch)
        assert ours.item() > 0.1
        assert close(ours, theirs)
        n_batches += 1
    assert n_batches > 5
    for model, loss_value in ((pixel, ours), (stock, theirs)):
        model.zero_grad()
        loss_value.backward()
    stocks = dict(stock.named_parameters())
    compared = 0
    for name, parameter in pixel.named_parameters():
        assert close(parameter.grad, stocks[name].grad), name
        compared += 1
    assert compared == len(stocks) - (item_tower == "features")


@pytest.mark.parametrize("item_tower", ["id", "features"])
def test_scores_are_recboles(lookup, item_tower):
    pixel, stock, (_, valid, test), _ = lookup(item_tower)
    pixel.eval()
    stock.eval()
    for loader in (valid, test):
        for interaction, *_ in loader:
            scores = pixel.full_sort_predict(interaction)
            assert scores.abs().max() > 0.1
            assert close(scores, stock.full_sort_predict(interaction))
            assert close(pixel.predict(interaction), stock.predict(interaction))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("item_tower", ["id", "features"])
def test_sequence_rows_give_the_mean_of_recboles_losses_of_their_prefixes(lookup, item_tower, loss):
    """Histories fit the window and nothing drops out, so that every position sees what its prefix would."""
    pixel, stock, (train, _, _), _ = lookup(item_tower, train_rows="sequence", **LOSSES[loss])
    pixel.train()
    stock.train()
    for batch in train:
        rows = unrolled(batch, 10)
        assert len(rows["item_id"]) > len(batch["item_length"])
        assert close(pixel.calculate_loss(batch), stock.calculate_loss(rows))


@pytest.mark.parametrize("train_rows", ["sequence", "prefix"])
def test_bce_is_its_formula(lookup, train_rows):
    pixel, stock, (train, _, _), _ = lookup("features", train_rows=train_rows, loss_type="BCE")
    for batch in train:
        rows = unrolled(batch, 10) if train_rows == "sequence" else batch
        states = stock.forward(rows["item_id_list"], rows["item_length"])
        positive, negative = (
            (states * stock.item_embedding(rows[field])).sum(-1).sigmoid() for field in ("item_id", "neg_item_id")
        )
        assert close(pixel.calculate_loss(batch), -(positive.log() + (1 - negative).log()).mean())


@pytest.mark.parametrize("train_rows", ["sequence", "prefix"])
def test_sampled_ce_is_its_formula(lookup, train_rows):
    """By hand: softmax over the step's items, less log q, without the padding and the row's other items."""
    pixel, stock, (train, _, _), _ = lookup("features", train_rows=train_rows, loss_type="CE", extra_candidates=4)
    for batch in train:
        rows = unrolled(batch, 10) if train_rows == "sequence" else batch
        owner = torch.arange(len(batch["item_length"])).repeat_interleave(
            batch["item_length"] if train_rows == "sequence" else torch.ones_like(batch["item_length"])
        )
        states = stock.forward(rows["item_id_list"], rows["item_length"])
        ids, log_q = batch[CATALOGUE_ID].tolist(), batch["catalogue_log_q"]
        losses = []
        for state, target, row in zip(states, rows["item_id"].tolist(), owner.tolist(), strict=True):
            own = {*batch["item_id_list"][row].tolist(), *batch["item_id"][row].flatten().tolist()} - {target}
            ranked = [place for place, item in enumerate(ids) if item and item not in own]
            logits = stock.item_embedding.weight[[ids[place] for place in ranked]] @ state - log_q[ranked]
            losses.append(F.cross_entropy(logits[None], torch.tensor([[ids[place] for place in ranked].index(target)])))
        assert close(pixel.calculate_loss(batch), torch.stack(losses).mean())


def test_scores_depend_neither_on_padding_nor_on_the_order_of_the_batch(lookup):
    pixel, _, (_, _, test), _ = lookup("features")
    pixel.eval()
    interaction = next(iter(test))[0]
    scores = pixel.full_sort_predict(interaction)
    order = torch.randperm(len(scores))
    moved = Interaction({field: interaction[field][order] for field in ("item_id_list", "item_length")})
    assert close(pixel.full_sort_predict(moved), scores[order])
    longest = int(interaction["item_length"].max())
    assert longest < interaction["item_id_list"].shape[1]
    cut = Interaction(
        {"item_id_list": interaction["item_id_list"][:, :longest], "item_length": interaction["item_length"]}
    )
    assert close(pixel.full_sort_predict(cut), scores)


@pytest.fixture
def pictured(tmp_path, settings, build) -> Callable[..., Any]:
    """A function that makes (config, model, loaders) on the colour world; N is 65, like no other size."""
    name = colour_world(tmp_path, n_items=62)

    def made(**own: Any) -> Any:
        return build(name, {**settings, **own})

    return made


@pytest.mark.parametrize("loss_type", ["BPR", "CE"])
def test_no_parameter_is_indexed_by_item(pictured, loss_type):
    _, model, (train, _, _) = pictured(loss_type=loss_type)
    assert train._dataset.item_num == 65
    model.eval().full_sort_predict(next(iter(train)).to("cpu"))
    model.train().calculate_loss(next(iter(train))).backward()
    for name, tensor in [*model.named_parameters(), *model.named_buffers(), *model.state_dict().items()]:
        assert 65 not in tensor.shape, name
        assert 64 not in tensor.shape[:1] or name.startswith("item_embedding.encoder.backbone"), name
    embeddings = [module.num_embeddings for module in model.modules() if isinstance(module, nn.Embedding)]
    assert embeddings == [10], "positions only"


def test_the_id_twins_state_is_recboles(pictured):
    config, twin, (train, _, _) = pictured(item_tower="id", loss_type="CE")
    stock = SASRec(config, train._dataset)
    assert stock.load_state_dict(twin.state_dict(), strict=True)
    twin.load_state_dict(stock.state_dict(), strict=True)


@pytest.mark.parametrize("train_rows", ["sequence", "prefix"])
@pytest.mark.parametrize("loss_type", ["BPR", "BCE", "CE"])
@pytest.mark.parametrize("tune", ["frozen", "top:1", "full"])
def test_what_should_learn_has_a_gradient_and_the_frozen_none(pictured, tune, loss_type, train_rows):
    _, model, (train, _, _) = pictured(tune=tune, loss_type=loss_type, train_rows=train_rows, train_batch_size=8)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.rand_like(parameter) * 0.05)  # timm starts each residual branch at zero
    model.train().calculate_loss(next(iter(train))).backward()
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    encoder = {name for name, _ in model.named_parameters() if name.startswith("item_embedding.encoder")}
    assert {"frozen": 0, "top:1": 1, "full": 2}[tune] == (len(encoder & learning) > 0) + (encoder <= learning)
    assert not {name for name, _ in model.named_parameters()} - encoder - learning
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == (name in learning), name
        if name in learning and not name.endswith("key.bias"):  # softmax does not see what all keys share
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"loss_type": "MSE"}, "loss_type is 'MSE'.*CE, BPR, BCE"),
        ({"train_rows": "rows"}, "train_rows is 'rows'.*sequence, prefix"),
        ({"item_tower": "picture"}, "item_tower is 'picture'.*id, image, text, image_text"),
    ],
)
@pytest.mark.parametrize("checked_early", [True, False])
def test_what_the_model_does_not_know_is_named(pictured, monkeypatch, own, message, checked_early):
    """By our command before anything is loaded; by the model where RecBole's own run_recbole built the Config."""
    if not checked_early:
        monkeypatch.setattr("recbole_pixel.config.check_settings", lambda *args: None)
    with pytest.raises(ValueError, match=message):
        pictured(**own)


def test_features_without_a_store_say_what_to_set(pictured):
    with pytest.raises(ValueError, match="`features` names no store"):
        pictured(item_tower="features")

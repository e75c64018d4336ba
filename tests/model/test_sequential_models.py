"""What every sequential pixel model must do, whatever its network; parametrised over the registry."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from test_worlds import COLOUR, share_of_taste, trained, user_scores
from tiny_models import SEQUENTIAL, TINY, away_from_start, unrolled
from torch.nn import functional as F

PREFIX_ONLY = {"PixelSRGNN", "PixelLightSANs"}
CAUSAL = sorted(set(SEQUENTIAL) - PREFIX_ONLY - {"PixelBERT4Rec"})
LOSSES = {
    "BPR": {"loss_type": "BPR"},
    "BCE": {"loss_type": "BCE"},
    "CE": {"loss_type": "CE", "extra_candidates": 4},
    "CE-all": {"loss_type": "CE", "extra_candidates": "all"},
}


def close(one: torch.Tensor, other: torch.Tensor, tolerance: float = 1e-5) -> bool:
    return bool((one - other).abs().max() <= tolerance)


def share_of_trained(model: Any, dataset: Any) -> float:
    """How many users score the covers of their colour higher, of those that were trained on."""
    names, scores = user_scores(model, dataset)
    items = [(item, token) for token, item in dataset.field2token_id["item_id"].items() if token[0] == "i"]
    red, blue = ([item for item, token in items if int(token[1:]) % 2 == odd] for odd in (0, 1))
    likes_red = np.array([int(name[1:]) % 2 == 0 for name in names])
    return float(((scores[:, red].mean(1) > scores[:, blue].mean(1)) == likes_red).mean())


@pytest.mark.parametrize("item_tower", ["id", "image", "features"])
@pytest.mark.parametrize("name", SEQUENTIAL)
def test_a_model_learns_the_taste_and_sees_it_in_covers_nobody_consumed(settings, build, pictures, name, item_tower):
    """An ID model learns it for the items it trained on only."""
    rates = {} if item_tower == "image" else {"learning_rate": 0.01, "encoder_learning_rate": 0.01}
    own = {
        **settings,
        **COLOUR,
        **TINY,
        **pictures,
        **rates,
        "item_tower": item_tower,
        "epochs": 60,
        "stopping_step": 60,
    }
    own["train_batch_size"] = 72 if name in PREFIX_ONLY else 16
    fits = 0.9 if item_tower == "id" else 0.98

    fitting: list[bool] = []

    def stop(model: Any, dataset: Any) -> bool:
        """Twice in a row: the epoch in which the taste is found may find it for some covers only."""
        fitting.append(share_of_trained(model, dataset) >= fits)
        return all(fitting[-2:]) and len(fitting) > 1

    model, loaders, _ = trained(lambda world, asked: build(world, asked, name), "colour", own, stop)
    dataset = loaders[0]._dataset
    assert share_of_trained(model, dataset) >= fits
    if item_tower != "id":  # which says the same of two items without a row, to everybody or at random
        assert share_of_taste(model, dataset) > 0.8


@pytest.mark.parametrize("loss", ["BPR", "BCE", "CE"])
@pytest.mark.parametrize("item_tower", ["id", "image", "features"])
@pytest.mark.parametrize("name", SEQUENTIAL)
def test_every_parameter_that_should_learn_has_a_gradient(tiny, name, item_tower, loss):
    own = {"tune": "full", "train_batch_size": 8, "mlp_hidden_size": [8], **LOSSES[loss]}
    _, model, (train, _, _) = tiny(name, item_tower, **own)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.rand_like(parameter) * 0.05)  # timm starts each residual branch at zero
    model.train().calculate_loss(next(iter(train))).backward()
    for key, parameter in model.named_parameters():
        assert parameter.requires_grad, key
        if not key.endswith("key.bias"):  # softmax does not see what keys share
            assert parameter.grad is not None, key
            assert parameter.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_no_parameter_is_indexed_by_item(tiny, name):
    _, model, (train, _, _) = tiny(name, "features")
    assert train._dataset.item_num == 65
    for key, tensor in [*model.named_parameters(), *model.state_dict().items()]:
        assert not {64, 65, 66} & set(tensor.shape), key


@pytest.mark.parametrize("item_tower", ["id", "features"])
@pytest.mark.parametrize("name", SEQUENTIAL)
def test_scores_depend_neither_on_padding_nor_on_the_rest_of_the_batch(tiny, name, item_tower):
    _, model, (_, _, test) = tiny(name, item_tower, MAX_ITEM_LIST_LENGTH=14)
    away_from_start(model).eval()
    full = next(iter(test))[0]
    length = torch.arange(len(full["item_length"])) % 9 + 1
    rows = full["item_id_list"].masked_fill(torch.arange(14) >= length[:, None], 0)

    def scores(rows: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        return model.full_sort_predict(Interaction({"item_id_list": rows, "item_length": length}))[:, 1:]

    found = scores(rows, length)
    assert found.abs().max() > 0.01
    assert not close(found[0], found[1], 1e-3)
    order = torch.randperm(len(rows))
    assert close(scores(rows[order], length[order]), found[order])
    assert close(scores(rows[:, :9], length), found), "the width of the padding"
    alone = torch.cat([scores(rows[i : i + 1, : length[i]], length[i : i + 1]) for i in range(len(rows))])
    assert close(alone, found), "rows alone, unpadded"
    if item_tower == "id":
        with torch.no_grad():
            model.item_embedding.weight[0] += 100.0
        assert close(scores(rows, length), found), "the padding's own vector"


@pytest.mark.parametrize("name", CAUSAL)
def test_sequence_rows_give_the_mean_over_their_prefixes(tiny, name):
    _, model, (train, _, _) = tiny(name, "features", train_rows="sequence", loss_type="BPR")
    away_from_start(model).train()
    for batch in train:
        rows = unrolled(batch, 10)
        assert len(rows["item_id"]) > len(batch["item_length"])
        model.train_rows = "sequence"
        together = model.calculate_loss(batch)
        model.train_rows = "prefix"
        assert together.item() > 0.1
        assert close(together, model.calculate_loss(rows))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", sorted(set(SEQUENTIAL) - {"PixelBERT4Rec"}))
def test_each_loss_is_its_formula_over_the_models_scores(tiny, name, loss):
    """Scores of each target's own history, one by one in evaluation; then the loss, from its definition."""
    _, model, (train, _, _) = tiny(name, "features", **LOSSES[loss])
    away_from_start(model)
    batch = next(iter(train))
    rows = unrolled(batch, 10) if batch["item_id"].dim() == 2 else batch
    row_of = torch.arange(len(batch["item_length"]))
    if batch["item_id"].dim() == 2:
        row_of = row_of.repeat_interleave(batch["item_length"])
    scores = model.eval().full_sort_predict(rows).double()
    targets = rows["item_id"]
    positive = scores.gather(1, targets[:, None])[:, 0]
    if loss in ("BPR", "BCE"):
        negative = scores.gather(1, rows["neg_item_id"][:, None])[:, 0]
        if loss == "BPR":
            expected = -(1e-10 + torch.sigmoid(positive - negative)).log().mean()
        else:
            expected = -(torch.sigmoid(positive).log() + (1 - torch.sigmoid(negative)).log()).mean()
    elif loss == "CE-all":
        expected = (scores.exp().sum(1).log() - positive).mean()
    else:
        expected = sampled_ce(scores, targets, batch, row_of)
    ours = model.train().calculate_loss(batch)
    assert ours.item() > 0.1
    assert close(ours, expected, 2e-5)


def sampled_ce(scores: torch.Tensor, targets: torch.Tensor, batch: Any, row_of: torch.Tensor) -> torch.Tensor:
    """Softmax over the step's items, each less log q, without the padding and the row's other items."""
    ids, losses = batch["catalogue_id"].tolist(), []
    log_q = dict(zip(ids, batch["catalogue_log_q"].tolist(), strict=True))
    for score, target, row in zip(scores, targets.tolist(), row_of.tolist(), strict=True):
        own = {*batch["item_id_list"][row].tolist(), *batch["item_id"][row].flatten().tolist()} - {target}
        ranked = [item for item in ids if item and item not in own]
        logits = torch.stack([score[item] - log_q[item] for item in ranked])
        losses.append(logits.logsumexp(0) - logits[ranked.index(target)])
    return torch.stack(losses).mean()


@pytest.mark.parametrize("name", sorted(PREFIX_ONLY))
def test_a_model_whose_states_see_the_whole_row_refuses_sequence_rows(tiny, name):
    with pytest.raises(ValueError, match=r"train_rows is 'sequence'.*expected one of prefix"):
        tiny(name, "id", train_rows="sequence")


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_a_model_is_rebuilt_from_its_state(tiny, name):
    _, model, (_, _, test) = tiny(name, "features")
    away_from_start(model).eval()
    _, other, _ = tiny(name, "features")
    other.load_state_dict(model.state_dict())
    rows = next(iter(test))[0]
    scores = model.full_sort_predict(rows)
    assert scores.abs().max() > 0.01
    assert close(scores, other.eval().full_sort_predict(rows), 0)


def test_cross_entropy_of_the_id_twin_over_a_sample_is_that_of_the_samples_columns(tiny):
    """Its parent's logits have a column for every item; those of the step are taken."""
    own = {"train_rows": "prefix", "loss_type": "CE", "extra_candidates": 4, "mask_collisions": False}
    _, model, (train, _, _) = tiny("PixelGRU4Rec", "id", **own)
    away_from_start(model).train()
    batch = next(iter(train))
    ids = batch["catalogue_id"]
    assert len(ids) < 60
    states = model.forward(batch["item_id_list"], batch["item_length"])
    logits = states @ model.item_embedding.weight[ids].T - batch["catalogue_log_q"]
    logits[:, 0] = -torch.inf
    assert close(model.calculate_loss(batch), F.cross_entropy(logits, torch.searchsorted(ids, batch["item_id"])))

"""Models of stored features, each by its paper's formula, written here again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from recbole.model.sequential_recommender.sasrec import SASRec
from torch import nn
from torch.nn import functional as F
from visual_world import close, numbers

from recbole_pixel.model.visual_recommender.logistic_bpr import LogisticBPR


def stored(model: Any) -> np.ndarray:
    """The stored arrays of all items, zeros for the padding."""
    arrays = numbers(model.item_embedding.inputs.fetch(torch.arange(1, model.n_items)))
    return np.concatenate([np.zeros_like(arrays[:1]), arrays])


def standardised(vectors: np.ndarray) -> np.ndarray:
    """Centred, and divided by the root of the mean variance; the first, the padding's, stays out of it."""
    found = (vectors - vectors[1:].mean(0)) / np.sqrt(vectors[1:].var(0).mean())
    found[0] = 0
    return found


def bpr(positive: np.ndarray, negative: np.ndarray) -> float:
    return float(-np.log(1 / (1 + np.exp(-(positive - negative)))).mean())


def selu(x: np.ndarray) -> np.ndarray:
    return 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * (np.exp(np.minimum(x, 0)) - 1))


def test_vbpr_is_its_formula(visual):
    """beta_i + gamma_u . gamma_i + theta_u . (E f_i) + beta' . f_i, with and without biases; and BPR of it."""
    for own in ({}, {"item_bias": False}, {"visual_bias": False, "visual_embedding_size": 5}):
        model, (train, valid, _) = visual("VBPR", **own)
        features = standardised(stored(model))
        matrix = numbers(model.item_embedding.projection.weight)
        size = own.get("visual_embedding_size", 8)
        assert matrix.shape == (size + own.get("visual_bias", True), 48)
        assert model.item_embedding.projection.bias is None
        scores = numbers(model.user_embedding.weight) @ numbers(model.item_factors.weight).T
        scores += numbers(model.visual_preference.weight) @ (features @ matrix[:size].T).T
        scores += (features @ matrix[size:].T).sum(1)
        if own.get("item_bias", True):
            scores += numbers(model.item_bias)
        batch = next(iter(train))
        users, items, negatives = (batch[field].numpy() for field in ("user_id", "item_id", "neg_item_id"))
        assert abs(model.calculate_loss(batch).item() - bpr(scores[users, items], scores[users, negatives])) < 1e-5
        model.eval()
        asked = next(iter(valid))[0]
        assert close(
            model.full_sort_predict(asked).view(len(asked), -1)[:, 1:], scores[asked["user_id"].numpy()][:, 1:]
        )
        assert close(model.predict(batch), scores[users, items])


def acf_user(model: Any, components: np.ndarray, user: int, history: list[int]) -> np.ndarray:
    """Formulas 6 to 10 of the paper, item by item; W_1x and W_2x lie in one matrix."""
    u, v, p = (numbers(table.weight) for table in (model.user_embedding, model.item_factors, model.history_factors))
    w_2x, w_1x = np.split(numbers(model.item_embedding.encoder.projection.weight), 2)
    logits = []
    for item in history:
        asked = components[item] @ w_2x.T + numbers(model.component_user(model.user_embedding.weight[user]))
        weight = np.exp(np.maximum(asked, 0) @ numbers(model.component_score.weight)[0])
        content = (weight[:, None] * components[item]).sum(0) / weight.sum()
        hidden = numbers(model.item_user(model.user_embedding.weight[user])) + w_1x @ content
        hidden += numbers(model.item_target.weight) @ v[item] + numbers(model.item_history.weight) @ p[item]
        logits.append(numbers(model.item_score.weight)[0] @ np.maximum(hidden, 0))
    alpha = np.exp(logits) / np.exp(logits).sum()
    return u[user] + alpha @ p[history]


@pytest.mark.parametrize("train_rows", ["sequence", "prefix"])
def test_acf_is_its_formula_over_what_came_before_the_target(visual, train_rows):
    model, (train, valid, _) = visual("ACF", train_rows=train_rows, train_batch_size=6)
    components, targets = stored(model), numbers(model.item_factors.weight)
    batch = next(iter(train))
    positive, negative = [], []
    for row, user in enumerate(batch["user_id"].tolist()):
        length = int(batch["item_length"][row])
        wanted, drawn = (batch[field][row].reshape(-1).tolist() for field in ("item_id", "neg_item_id"))
        for place, (item, other) in enumerate(zip(wanted, drawn, strict=True)):
            if not item:
                continue
            seen = batch["item_id_list"][row, : place + 1 if train_rows == "sequence" else length].tolist()
            vector = acf_user(model, components, user, seen)
            positive.append(vector @ targets[item])
            negative.append(vector @ targets[other])
    assert abs(model.calculate_loss(batch).item() - bpr(np.array(positive), np.array(negative))) < 1e-5
    model.eval()
    asked = next(iter(valid))[0][:7]
    users = [
        acf_user(model, components, user, history[:length])
        for user, history, length in zip(
            asked["user_id"].tolist(), asked["item_id_list"].tolist(), asked["item_length"].tolist(), strict=True
        )
    ]
    assert close(model.full_sort_predict(asked), np.stack(users) @ targets.T)


@pytest.mark.parametrize("train_rows", ["sequence", "prefix"])
def test_curatornet_is_its_formula(visual, train_rows):
    model, (train, valid, _) = visual("CuratorNet", train_rows=train_rows, train_batch_size=6, embedding_size=7)

    def layers(x: np.ndarray, network: nn.Sequential) -> np.ndarray:
        for linear in network[::2]:
            x = selu(x @ numbers(linear.weight).T + numbers(linear.bias))
        return x

    items = layers(standardised(stored(model)), model.item_embedding.projection)
    assert len(model.item_embedding.projection) == 4
    assert len(model.profile) == 6

    def profile(history: list[int]) -> np.ndarray:
        return layers(np.concatenate([items[history].max(0), items[history].mean(0)]), model.profile)

    batch = next(iter(train))
    differences = []
    for row in range(len(batch["item_id"])):
        wanted, drawn = (batch[field][row].reshape(-1).tolist() for field in ("item_id", "neg_item_id"))
        for place in np.flatnonzero(wanted):
            last = place + 1 if train_rows == "sequence" else int(batch["item_length"][row])
            vector = profile(batch["item_id_list"][row, :last].tolist())
            differences.append(vector @ (items[wanted[place]] - items[drawn[place]]))
    assert abs(model.calculate_loss(batch).item() - bpr(np.array(differences), np.zeros(len(differences)))) < 1e-4
    model.eval()
    asked = next(iter(valid))[0]
    rows = zip(asked["item_id_list"].tolist(), asked["item_length"].tolist(), strict=True)
    scores = np.stack([profile(history[:length]) for history, length in rows]) @ items.T
    assert close(model.full_sort_predict(asked)[:, 1:], scores[:, 1:])


def test_dvbpr_scores_pixels_by_cnn_f(visual):
    """gamma_u . gamma_i + theta_u . CNN(x_i): five convolutions, three pooled, and three fully connected layers."""
    model, (_, valid, _) = visual("DVBPR", image_size=64)
    pixels = model.eval().item_embedding.inputs.fetch(torch.arange(1, model.n_items)).float() / 127.5 - 1
    network = model.item_embedding.encoder.backbone
    convolutions = [layer for layer in network.convolutions if isinstance(layer, nn.Conv2d)]
    linear = [layer for layer in network.connected if isinstance(layer, nn.Linear)]
    assert [layer.out_channels for layer in convolutions] == [64, 256, 256, 256, 256]
    x = pixels
    for number, (layer, stride, padding) in enumerate(zip(convolutions, (4, 1, 1, 1, 1), (0, 2, 1, 1, 1), strict=True)):
        x = F.conv2d(x, layer.weight, layer.bias, stride, padding).relu()
        if number in (0, 1, 4):
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    x = x.flatten(1)
    for layer in linear:
        x = (x @ layer.weight.T + layer.bias).relu()
    visual_factors = numbers(x) @ numbers(model.item_embedding.projection.weight).T
    asked = next(iter(valid))[0]
    users = asked["user_id"]
    scores = numbers(model.user_embedding(users)) @ numbers(model.item_factors.weight[1:]).T
    scores += numbers(model.visual_preference(users)) @ visual_factors.T
    found = model.full_sort_predict(asked).view(len(users), -1)[:, 1:]
    assert np.abs(numbers(found) - scores).max() < 1e-4 * np.abs(scores).max()
    assert model.item_bias is None


def item_vectors(model: Any, kind: str) -> np.ndarray:
    """Vectors of all items but the padding, as the three inputs of VisualSASRec define them."""
    tower = model.item_embedding
    if kind == "semantic_id":
        codes, table = stored(model)[1:].astype(int), numbers(tower.encoder.codes.weight)
        n_codes = len(table) // 2
        return (table[codes[:, 0]] + table[n_codes + codes[:, 1]]) / 2
    features = standardised(stored(model))[1:]
    if kind == "features_id":
        features = np.concatenate([features, numbers(tower.ids.weight)[1:]], axis=1)
    return features @ numbers(tower.projection.weight).T + numbers(tower.projection.bias)


@pytest.mark.parametrize("loss_type", ["CE", "BPR"])
@pytest.mark.parametrize("kind", ["features", "features_id", "semantic_id"])
def test_visualsasrec_is_recboles_sasrec_over_its_item_vectors(visual, build, small, kind, loss_type):
    """The same losses over the whole catalogue and the same scores, its table being the formula of the input."""
    own = {"train_rows": "prefix", "loss_type": loss_type, "extra_candidates": "all", "mask_collisions": False}
    own |= {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}
    model, (train, valid, _) = visual(f"VisualSASRec-{kind}", **own)
    table = np.concatenate([np.zeros((1, 8)), item_vectors(model, kind)])
    assert close(model.eval().item_embedding.weight, table, 1e-5)
    name, asked = small(f"VisualSASRec-{kind}", **own)
    config, _, _ = build("colour", asked, name)
    stock = SASRec(config, train._dataset)
    rest = {key: value for key, value in model.state_dict().items() if not key.startswith("item_embedding.")}
    stock.load_state_dict({**rest, "item_embedding.weight": torch.from_numpy(table).float()})
    model.train()
    for batch in train:
        assert abs(model.calculate_loss(batch) - stock.calculate_loss(batch)) < 1e-4
    model.eval()
    stock.eval()
    asked = next(iter(valid))[0]
    assert close(model.full_sort_predict(asked), numbers(stock.full_sort_predict(asked)))


def test_bpr_still_learns_from_a_pair_that_is_ordered_wrongly_by_much():
    """RecBole's loss is flat there: -log(1e-10 + sigmoid(-30))."""
    difference = torch.tensor([-30.0, -1.0, 0.0, 2.0], requires_grad=True)
    loss = LogisticBPR()(difference, torch.zeros(4))
    assert abs(loss.item() - (30 + bpr(np.array([-1.0, 0.0, 2.0]), np.zeros(3)) * 3) / 4) < 1e-6
    loss.backward()
    assert difference.grad is not None
    assert abs(difference.grad[0].item() + 1 / 4) < 1e-6

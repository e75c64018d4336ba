"""Each model's score written out from its paper, row by row, and BERT4Rec's masks and losses."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from recbole.data.interaction import Interaction
from tiny_models import TINY, away_from_start
from torch import Tensor
from torch.nn import functional as F
from worlds import random_rows, write_inter

from recbole_pixel.model.cloze import draw_masks, draw_rows

LENGTH = 6


@pytest.fixture
def tiny(tmp_path, settings, build) -> Callable[..., Any]:
    write_inter(tmp_path, "w", random_rows(1))

    def made(name: str, **own: Any) -> Any:
        asked = {**settings, **TINY, "item_tower": "id", "MAX_ITEM_LIST_LENGTH": LENGTH, **own}
        _, model, loaders = build("w", asked, name)
        return away_from_start(model), loaders

    return made


def norm(layer: Any, x: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (
        x.var(-1, unbiased=False, keepdim=True) + layer.eps
    ).sqrt() * layer.weight + (layer.bias)


def fm(model: Any, vectors: Tensor, items: list[int]) -> tuple[Tensor, Tensor]:
    """The factorised part between each item of a history and the candidate; nothing within the history."""
    table = model.item_embedding.weight
    return sum(table[item] for item in items), table


def dssm(model: Any, vectors: Tensor, items: list[int]) -> tuple[Tensor, Tensor]:
    def mlp(network: Any, x: Tensor) -> Tensor:
        for layer in network.mlp_layers:
            if isinstance(layer, torch.nn.Linear):
                x = torch.tanh(layer.weight @ x + layer.bias)
        return x

    table = torch.stack([mlp(model.item_mlp, row) for row in model.item_embedding.weight])
    return mlp(model.user_mlp, sum(vectors) / len(items)), table


def gru4rec(model: Any, vectors: Tensor, items: list[int]) -> tuple[Tensor, Tensor]:
    gru, hidden = model.gru_layers, torch.zeros(model.hidden_size)
    for x in vectors:
        of_input, of_state = (gru.weight_ih_l0 @ x).chunk(3), (gru.weight_hh_l0 @ hidden).chunk(3)
        reset, update = torch.sigmoid(of_input[0] + of_state[0]), torch.sigmoid(of_input[1] + of_state[1])
        candidate = torch.tanh(of_input[2] + reset * of_state[2])
        hidden = (1 - update) * candidate + update * hidden
    return model.dense.weight @ hidden + model.dense.bias, model.item_embedding.weight


def nextitnet(model: Any, vectors: Tensor, items: list[int]) -> tuple[Tensor, Tensor]:
    def convolved(conv: Any, xs: list[Tensor]) -> list[Tensor]:
        width, hole = conv.weight.shape[-1], conv.dilation[1]
        back = [(width - 1 - tap) * hole for tap in range(width)]
        return [
            conv.bias + sum(conv.weight[:, :, 0, tap] @ xs[t - back[tap]] for tap in range(width) if t >= back[tap])
            for t in range(len(xs))
        ]

    xs = list(vectors)
    for block in model.residual_blocks:
        first = [torch.relu(norm(block.ln1, x)) for x in convolved(block.conv1, xs)]
        second = [torch.relu(norm(block.ln2, x)) for x in convolved(block.conv2, first)]
        xs = [x + y for x, y in zip(xs, second, strict=True)]
    return model.final_layer.weight @ xs[-1] + model.final_layer.bias, model.item_embedding.weight


def srgnn(model: Any, vectors: Tensor, items: list[int]) -> tuple[Tensor, Tensor]:
    gnn, nodes = model.gnn, sorted(set(items))
    edges = set(pairwise(items))
    hidden = {node: model.item_embedding.weight[node] for node in nodes}
    gated = {}
    for node in nodes:
        into = [source for source, target in edges if target == node]
        out = [target for source, target in edges if source == node]
        a_in = sum((gnn.linear_edge_in(hidden[source]) for source in into), torch.zeros(16)) / max(len(into), 1)
        a_out = sum((gnn.linear_edge_out(hidden[target]) for target in out), torch.zeros(16)) / max(len(out), 1)
        a = torch.cat([a_in + gnn.b_iah, a_out + gnn.b_ioh])
        of_edges, of_node = (gnn.w_ih @ a + gnn.b_ih).chunk(3), (gnn.w_hh @ hidden[node] + gnn.b_hh).chunk(3)
        reset, update = torch.sigmoid(of_edges[0] + of_node[0]), torch.sigmoid(of_edges[1] + of_node[1])
        gated[node] = (1 - update) * hidden[node] + update * torch.tanh(of_edges[2] + reset * of_node[2])
    last = gated[items[-1]]
    alphas = [
        model.linear_three(torch.sigmoid(model.linear_one(last) + model.linear_two(gated[item]))) for item in items
    ]
    session = sum(alpha * gated[item] for alpha, item in zip(alphas, items, strict=True))
    return model.linear_transform(torch.cat([session, last])), model.item_embedding.weight


def transformer(layer: Any, x: Tensor, is_causal: bool) -> Tensor:
    attention, feed = layer.multi_head_attention, layer.feed_forward
    query, key, value = attention.query(x), attention.key(x), attention.value(x)
    scores = query @ key.T / math.sqrt(x.shape[1])
    if is_causal:
        scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -torch.inf)
    x = norm(attention.LayerNorm, attention.dense(scores.softmax(-1) @ value) + x)
    return norm(feed.LayerNorm, feed.dense_2(F.gelu(feed.dense_1(x))) + x)


def sasrec(model: Any, vectors: Tensor, items: list[int]) -> tuple[Tensor, Tensor]:
    x = norm(model.LayerNorm, vectors + model.position_embedding.weight[: len(items)])
    return transformer(model.trm_encoder.layer[0], x, is_causal=True)[-1], model.item_embedding.weight


def cloze_states(model: Any, vectors: Tensor) -> Tensor:
    x = norm(model.LayerNorm, vectors + model.position_embedding.weight[: len(vectors)])
    x = transformer(model.trm_encoder.layer[0], x, is_causal=False)
    return norm(model.output_ln, F.gelu(model.output_ffn(x)))


def bert4rec(model: Any, vectors: Tensor, items: list[int]) -> tuple[Tensor, Tensor]:
    vectors = torch.cat([vectors, model.item_embedding.learnt.weight])
    return cloze_states(model, vectors)[-1], model.item_embedding.weight


def lightsans(model: Any, vectors: Tensor, items: list[int]) -> tuple[Tensor, Tensor]:
    """Softmaxes run over positions, as in the authors' code, which RecBole's is."""
    attention = model.trm_encoder.layer[0].multi_head_attention
    feed, width = model.trm_encoder.layer[0].feed_forward, math.sqrt(16)
    x = norm(model.LayerNorm, vectors)
    key, value = attention.key(x), attention.value(x)
    interest_key = (key @ attention.attpooling_key.theta).softmax(0).T @ key
    interest_value = (value @ attention.attpooling_value.theta).softmax(0).T @ value
    of_items = (attention.query(x) @ interest_key.T / width).softmax(0) @ interest_value
    place = norm(attention.pos_ln, model.position_embedding.weight[: len(items)])
    query = attention.pos_q_linear(place) / math.sqrt(2 * 16)
    of_places = (query @ attention.pos_k_linear(place).T / width).softmax(0) @ value
    x = norm(attention.LayerNorm, attention.dense(of_items + of_places) + x)
    return norm(feed.LayerNorm, feed.dense_2(F.gelu(feed.dense_1(x))) + x)[-1], model.item_embedding.weight


FORMULAS = {
    "PixelFM": fm,
    "PixelDSSM": dssm,
    "PixelGRU4Rec": gru4rec,
    "PixelNextItNet": nextitnet,
    "PixelSRGNN": srgnn,
    "PixelSASRec": sasrec,
    "PixelBERT4Rec": bert4rec,
    "PixelLightSANs": lightsans,
}


@torch.no_grad()
@pytest.mark.parametrize(("name", "layers"), [*((name, []) for name in FORMULAS), ("PixelDSSM", [8, 4])])
def test_scores_are_the_papers(tiny, name, layers):
    model, (_, valid, _) = tiny(name, mlp_hidden_size=layers)
    model.eval()
    rows = next(iter(valid))[0]
    assert set(rows["item_length"].tolist()) > {2, 3, LENGTH}
    scores = model.full_sort_predict(rows)
    for row, length, found in zip(rows["item_id_list"], rows["item_length"].tolist(), scores, strict=True):
        items = row[:length].tolist()
        state, table = FORMULAS[name](model, model.item_embedding.weight[items], items)
        assert found.abs().max() > 0.01
        assert (found - table @ state).abs().max() < 1e-5
    one = Interaction({**rows.interaction, "item_id": rows["item_id"]})
    assert torch.allclose(model.predict(one), scores.gather(1, rows["item_id"][:, None])[:, 0], atol=1e-5)


@pytest.mark.parametrize("loss", ["BPR", "BCE", "CE"])
def test_bert4recs_loss_is_its_formula(tiny, loss):
    """Rows with the same masks, hidden items predicted one by one, from the row's other items and the mask."""
    model, (train, _, _) = tiny("PixelBERT4Rec", loss_type=loss, extra_candidates=4, ft_ratio=0.3, masked_copies=3)
    table, mask = model.item_embedding.weight, model.item_embedding.learnt.weight[0]
    n_first = 0
    for step, batch in enumerate(train):
        torch.manual_seed(step)
        ours = model.train().calculate_loss(batch)
        torch.manual_seed(step)
        losses = []
        rows = torch.cat([batch["item_id_list"][:, :1], batch["item_id"]], dim=1)
        for index, (row, hidden) in enumerate(zip(*draw_rows(rows.repeat(3, 1), model.mask_ratio, 0.3), strict=True)):
            items = row[row > 0].tolist()
            vectors = torch.stack(
                [mask if is_hidden else table[i] for i, is_hidden in zip(items, hidden, strict=False)]
            )
            states = cloze_states(model, vectors)
            n_first += int(hidden[0])
            for place in hidden.nonzero()[:, 0].tolist():
                positive = table[items[place]] @ states[place]
                if loss == "CE":
                    ids = batch["catalogue_id"].tolist()
                    log_q = dict(zip(ids, batch["catalogue_log_q"].tolist(), strict=True))
                    ranked = [i for i in ids if i and (i == items[place] or i not in items)]
                    logits = torch.stack([table[i] @ states[place] - log_q[i] for i in ranked])
                    losses.append(logits.logsumexp(0) - positive + log_q[items[place]])
                    continue
                negative = table[batch["neg_item_id"][index % len(rows), max(place - 1, 0)]] @ states[place]
                if loss == "BPR":
                    losses.append(-(1e-10 + torch.sigmoid(positive - negative)).log())
                else:
                    losses.append(-torch.sigmoid(positive).log() - (1 - torch.sigmoid(negative)).log())
        assert ours.item() > 0.1
        assert (ours - torch.stack(losses).mean()).abs() < 2e-5
    assert n_first > 0, "the first item of a row is hidden, too"


def test_masks_hide_a_share_of_the_items_and_at_least_one():
    torch.manual_seed(0)
    length = torch.arange(4000) % 8 + 1
    items = (torch.arange(9) < length[:, None]).long() * 7
    hidden = draw_masks(items, 0.2)
    assert not hidden[items == 0].any()
    assert hidden.any(1).all()
    per_row = hidden.sum(1).float()
    for n in (1, 4, 8):  # E[hidden] = n p + the chance that none is, for which one is
        assert abs(per_row[length == n].mean() - (n * 0.2 + 0.8**n)) < 0.1
    alone = draw_masks(items, 0.0)[length == 4]
    assert alone.sum(1).unique().tolist() == [1]
    assert alone[:, :4].float().mean(0).sub(0.25).abs().max() < 0.07


def test_a_share_of_the_rows_ends_with_its_one_hidden_item():
    torch.manual_seed(0)
    length = torch.arange(4000) % 8 + 1
    items = (torch.arange(9) < length[:, None]).long() * (torch.arange(9) + 1)
    cut, hidden = draw_rows(items, 0.2, 1.0)
    kept = (cut > 0).sum(1)
    assert torch.equal(cut, items.masked_fill(torch.arange(9) >= kept[:, None], 0))
    assert torch.equal(hidden, torch.arange(9) == kept[:, None] - 1)
    assert kept[length == 1].unique().tolist() == [1]
    assert kept[length == 8].unique().tolist() == [2, 3, 4, 5, 6, 7, 8]
    assert abs(kept[length == 8].float().mean() - 5) < 0.3, "every item is a next one, equally often"
    whole, hidden = draw_rows(items, 1.0, 0.3)
    share = (hidden.sum(1) == 1)[length > 1].float().mean()
    assert abs(share - 0.3) < 0.03
    assert torch.equal(whole[hidden.sum(1) > 1], items[hidden.sum(1) > 1]), "a cloze is not cut"


def test_masks_follow_torchs_seed():
    items = torch.ones(50, 9, dtype=torch.long)
    torch.manual_seed(3)
    first, second = draw_rows(items, 0.2, 0.5), draw_rows(items, 0.2, 0.5)
    torch.manual_seed(3)
    assert all(map(torch.equal, first, draw_rows(items, 0.2, 0.5)))
    assert not torch.equal(first[1], second[1])


def test_bert4rec_sees_a_whole_history(tiny):
    """Also its oldest item, in a history of the greatest length and in one of a single item."""
    model, _ = tiny("PixelBERT4Rec")
    model.eval()
    for items in (list(range(1, LENGTH + 1)), [1]):
        rows = F.pad(torch.tensor([items, [9, *items[1:]]]), (0, LENGTH - len(items)))
        found = model.full_sort_predict(
            Interaction({"item_id_list": rows, "item_length": torch.tensor([len(items)] * 2)})
        )
        assert (found[0] - found[1]).abs().max() > 1e-3

"""The ID twin of a sequential pixel model is RecBole's class, wherever it is meant to be: same loss, same scores."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.model.sequential_recommender.bert4rec import BERT4Rec
from recbole.model.sequential_recommender.srgnn import SRGNN
from tiny_models import TINY, away_from_start, stock_config
from torch.nn import functional as F
from worlds import random_rows, write_inter

from recbole_pixel.model.session_graph import session_graphs

LENGTH = 6
LOSSES = {"BPR": {"loss_type": "BPR"}, "CE": {"loss_type": "CE", "extra_candidates": "all"}}
FULL_ONLY = {"NextItNet", "LightSANs"}  # RecBole's read the padding of shorter rows


@pytest.fixture
def twins(tmp_path, settings, build) -> Callable[..., Any]:
    """A function that makes (ID twin, RecBole's class of equal weights, loaders, config)."""
    write_inter(tmp_path, "w", random_rows(1))

    def made(name: str, **own: Any) -> Any:
        asked = {**settings, **TINY, "item_tower": "id", "MAX_ITEM_LIST_LENGTH": LENGTH, "train_rows": "prefix", **own}
        config, pixel, loaders = build("w", asked, f"Pixel{name}")
        away_from_start(pixel)
        module = import_module(f"recbole.model.sequential_recommender.{name.lower()}")
        stock = getattr(module, name)(stock_config(config), loaders[0]._dataset)
        stock.load_state_dict(pixel.state_dict())
        return pixel, stock, loaders, config

    return made


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool((one - other).abs().max() <= 1e-5)


def full_rows(batch: Any, name: str) -> Any:
    """The rows of ``batch`` on which RecBole's class is right."""
    if name not in FULL_ONLY:
        return batch
    is_full = batch["item_length"] == LENGTH
    fields = [field for field in batch.columns if not field.startswith("catalogue_")]
    return Interaction({field: batch[field][is_full] for field in fields})


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", ["SASRec", "GRU4Rec", "NextItNet", "SRGNN", "LightSANs"])
def test_prefix_rows_give_recboles_loss_and_gradients(twins, name, loss):
    pixel, stock, (train, _, _), _ = twins(name, train_batch_size=200, **LOSSES[loss])
    pixel.train()
    stock.train()
    n_rows = 0
    for batch in train:
        rows = full_rows(batch, name)
        n_rows += len(rows["item_length"])
        ours, theirs = pixel.calculate_loss(rows), stock.calculate_loss(rows)
        assert ours.item() > 0.1
        assert close(ours, theirs)
    assert n_rows > 50
    ours.backward()
    theirs.backward()
    stocks = dict(stock.named_parameters())
    for key, parameter in pixel.named_parameters():
        assert close(parameter.grad, stocks[key].grad), key


@pytest.mark.parametrize("name", ["SASRec", "GRU4Rec", "NextItNet", "SRGNN", "LightSANs"])
def test_scores_are_recboles(twins, name):
    pixel, stock, (_, valid, test), _ = twins(name)
    pixel.eval()
    stock.eval()
    n_rows = 0
    for loader in (valid, test):
        for interaction, *_ in loader:
            rows = full_rows(interaction, name)
            n_rows += len(rows["item_length"])
            scores = pixel.full_sort_predict(rows)
            assert scores.abs().max() > 0.1
            assert close(scores, stock.full_sort_predict(rows))
            assert close(pixel.predict(rows), stock.predict(rows))
    assert n_rows > 20


@pytest.mark.parametrize("name", sorted(FULL_ONLY))
def test_recboles_own_scores_of_short_rows_depend_on_padding(twins, name):
    """Why two of ours are not their twins there."""
    pixel, stock, (_, valid, _), _ = twins(name, MAX_ITEM_LIST_LENGTH=LENGTH + 2)
    rows = next(iter(valid))[0]
    is_short = rows["item_length"] < LENGTH
    rows = Interaction({field: rows[field][is_short] for field in ("item_id_list", "item_length")})
    cut = Interaction({**rows.interaction, "item_id_list": rows["item_id_list"][:, :LENGTH]})
    assert not close(stock.eval().full_sort_predict(rows), stock.full_sort_predict(cut))
    assert close(pixel.eval().full_sort_predict(rows), pixel.full_sort_predict(cut))


def test_nextitnet_regularises_its_layers_and_not_the_items(twins):
    pixel, _, (train, _, _), _ = twins("NextItNet", reg_weight=0.1, train_rows="sequence")
    batch = next(iter(train))
    layers = [pixel.final_layer.weight.norm()]
    layers += [p.norm() for key, p in pixel.residual_blocks.named_parameters() if key.endswith("weight")]
    regularised = pixel.calculate_loss(batch)
    pixel.reg_weight = 0.0
    assert close(regularised - pixel.calculate_loss(batch), 0.1 * torch.stack(layers).sum())
    pixel.train_rows = "prefix"
    rows = Interaction({**batch.interaction, **{key: batch[key][:, 0] for key in ("item_id",)}})
    without = pixel.calculate_loss(rows)
    pixel.reg_weight = 0.1
    assert close(pixel.calculate_loss(rows) - without, 0.1 * torch.stack(layers).sum())


def test_session_graphs_are_those_of_recboles_loop(twins):
    _, stock, _, _ = twins("SRGNN")
    lengths = torch.arange(40) % 9 + 1
    rows = torch.randint(1, 6, (40, 9), generator=torch.Generator().manual_seed(0))
    rows = rows.masked_fill(torch.arange(9) >= lengths[:, None], 0)
    for ours, theirs in zip(session_graphs(rows), SRGNN._get_slice(stock, rows), strict=True):
        assert ours.shape == theirs.shape
        assert torch.equal(ours, theirs)


def test_a_graph_by_hand():
    """The session 1, 2, 3, 2, 4 of the paper's figure: 2 has two edges out, half each."""
    node, edges, items, is_item = session_graphs(torch.tensor([[1, 2, 3, 2, 4, 0]]))
    assert items.tolist() == [[0, 1, 2, 3, 4, 0]]
    assert node.tolist() == [[1, 2, 3, 2, 4, 0]]
    assert is_item.tolist() == [[True] * 5 + [False]]
    weights_in, weights_out = edges[0].split(6, dim=1)
    assert weights_out[2].tolist() == [0, 0, 0, 0.5, 0.5, 0]
    assert weights_in[2].tolist() == [0, 0.5, 0, 0.5, 0, 0]
    assert weights_out[4].sum() == weights_in[1].sum() == edges[0, 0].sum() == 0


@pytest.fixture
def berts(twins, tmp_path, settings, build) -> Callable[..., Any]:
    """A function that makes (PixelBERT4Rec of IDs, RecBole's with one position more, loaders)."""

    def made(**own: Any) -> Any:
        asked = {**settings, **TINY, "item_tower": "id", "MAX_ITEM_LIST_LENGTH": LENGTH, **own}
        config, pixel, loaders = build("w", asked, "PixelBERT4Rec")
        away_from_start(pixel)
        fields = {"MASK_ITEM_SEQ": "masked", "POS_ITEMS": "hidden", "NEG_ITEMS": "negative", "MASK_INDEX": "place"}
        theirs = stock_config(config, MAX_ITEM_LIST_LENGTH=LENGTH + 1, **fields)
        stock = BERT4Rec(theirs, loaders[0]._dataset)
        state = pixel.state_dict()
        mask = state.pop("item_embedding.learnt.weight")
        state["item_embedding.weight"] = torch.cat([state["item_embedding.weight"], mask])
        state["output_bias"] = torch.zeros(pixel.n_items)
        stock.load_state_dict(state)
        return pixel, stock, loaders

    return made


def test_bert4recs_scores_are_recboles_after_an_item_that_it_drops(berts):
    pixel, stock, (_, valid, test) = berts()
    pixel.eval()
    stock.eval()
    for loader in (valid, test):
        rows = next(iter(loader))[0]
        longer = F.pad(rows["item_id_list"], (1, 0), value=1)
        with_one = {"item_id_list": longer, "item_length": rows["item_length"] + 1}
        theirs = stock.full_sort_predict(Interaction(with_one))
        assert theirs.abs().max() > 0.1
        assert close(pixel.full_sort_predict(rows), theirs)
        assert close(pixel.predict(rows), stock.predict(Interaction({**with_one, "item_id": rows["item_id"]})))


@pytest.mark.parametrize("loss", LOSSES)
def test_bert4recs_loss_is_recboles_of_the_same_masks(berts, monkeypatch, loss):
    """Masks given: two of each row, never the first, which RecBole's loss leaves out."""
    pixel, stock, (train, _, _) = berts(**LOSSES[loss], masked_copies=1)
    for batch in train:
        items = torch.cat([batch["item_id_list"][:, :1], batch["item_id"]], dim=1)
        place = torch.stack([torch.ones_like(batch["item_length"]), batch["item_length"]], dim=1)
        place[batch["item_length"] == 1, 0] = 0  # RecBole's mark for none
        hidden = torch.zeros_like(items).scatter(1, place, 1).bool()
        hidden[:, 0] = False
        monkeypatch.setattr(
            "recbole_pixel.model.sequential_recommender.pixelbert4rec.draw_rows",
            lambda rows, *_, found=hidden: (rows, found),
        )
        theirs = {
            "masked": items.masked_fill(hidden, pixel.n_items),
            "place": place,
            "hidden": items.gather(1, place),
            "negative": torch.zeros_like(place),
        }
        if loss == "BPR":
            theirs["negative"] = batch["neg_item_id"].gather(1, (place - 1).clamp(min=0))
        ours = pixel.calculate_loss(batch)
        assert ours.item() > 0.1
        assert close(ours, stock.calculate_loss(Interaction(theirs)))

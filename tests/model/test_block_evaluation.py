"""Evaluation in blocks: which models it serves, and that their metrics are those of RecBole's way of evaluating."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from recbole.evaluator.collector import Collector
from recbole.trainer import Trainer
from tiny_models import TINY, away_from_start
from torch import Tensor
from visual_world import CASES
from worlds import random_rows, write_inter

from recbole_pixel.evaluation import history_mask, top_items
from recbole_pixel.evaluation.lazy_scores import LazyProducts, LazyScores
from recbole_pixel.evaluation.score_blocks import Whole
from recbole_pixel.quick_start import trainer_class
from recbole_pixel.registry import MODELS

PLAIN = [name for name, folder in MODELS.items() if folder not in ("visual_recommender", "multimodal_recommender")]
RECBOLES = ["SASRec", "GRU4Rec", "BPR", "STAMP", "CORE", "TransRec", "RepeatLast"]
NOT_PRODUCTS = {"VisRank", "TransRec", "RepeatLast"}
METRICS = ["Recall", "NDCG", "MRR", "Hit", "MAP", "Precision", "GAUC"]


@pytest.fixture
def any_model(settings, pictures, build, visual) -> Any:
    """A function that makes (model, loaders) of any model of ours, away from its start."""

    def made(name: str) -> Any:
        if name in CASES:
            return visual(name)
        asked = {**settings, **TINY, **pictures, "item_tower": "features", "standardise_features": False}
        _, model, loaders = build("colour", asked, name)
        return away_from_start(model), loaders

    return made


@pytest.mark.parametrize("name", [*PLAIN, *CASES])
@torch.no_grad()
def test_scores_wait_and_are_those_of_the_model(any_model, name):
    """Of all our models but the one that is no product; blocks of them are blocks of ``full_sort_predict``."""
    model, (_, valid, _) = any_model(name)
    model.eval()
    interaction = next(iter(valid))[0]
    expected = model.full_sort_predict(interaction).view(len(interaction), -1)
    off = 1e-5 * expected.abs().max().item()
    with LazyProducts(model.n_items):
        found = model.full_sort_predict(interaction)
    assert isinstance(found, Tensor) == (name in NOT_PRODUCTS)
    if isinstance(found, LazyScores):
        assert not isinstance(found.blocks, Whole)
        rows, columns = torch.tensor([1, 0]), slice(3, 40)
        assert torch.allclose(found.blocks.block(rows, columns), expected[rows, columns], atol=off)
        found = found.view(len(interaction), -1).dense()
    assert torch.allclose(found, expected, atol=off)


class Stock:
    """Not active: RecBole's products are made at once."""

    def __init__(self, n_items: int) -> None:
        """Takes what LazyProducts takes."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        return None


@pytest.mark.parametrize("rows", ["many positives", "one"])
@pytest.mark.parametrize("model", ["PixelSASRec", "PixelMF", "PixelGRU4Rec", *RECBOLES])
def test_metrics_are_those_of_recboles_way(tmp_path, settings, build, monkeypatch, model, rows):
    """Users with a few positives by a ratio split, or one; histories masked; k larger than what is left to some."""
    write_inter(tmp_path, "w", random_rows(3, n_users=40))
    split = {"RS": [0.6, 0.1, 0.3]} if rows == "many positives" else {"LS": "valid_and_test"}
    own = {
        **settings, "item_tower": "id", "metrics": METRICS, "topk": [3, 25], "valid_metric": "NDCG@3",
        "eval_args": {"split": split, "order": "TO", "group_by": "user", "mode": "full"},
        "eval_batch_size": 16, "embedding_size": 16, "metric_decimal_place": 12,
    }  # fmt: skip
    own |= {"train_neg_sample_args": None} if model == "CORE" else {}
    config, network, (train, _, test) = build("w", {**own, **({} if model in MODELS else {"loss_type": "CE"})}, model)
    trainer = trainer_class(config)(config, network)
    trainer.eval_collector.data_collect(train)
    monkeypatch.setattr(top_items.top_items, "__defaults__", (None, 16))
    made = []
    monkeypatch.setattr(
        trainer.eval_collector, "eval_batch_collect", _noting(trainer.eval_collector.eval_batch_collect, made)
    )
    found = trainer.evaluate(test, load_best_model=False)
    assert set(made) == {Tensor if model in NOT_PRODUCTS else LazyScores}
    trainer.eval_collector = Collector(config)
    monkeypatch.setattr(history_mask, "LazyProducts", Stock)
    expected = trainer.evaluate(test, load_best_model=False)
    assert found == expected
    assert 0 < found["recall@25"] <= 1
    assert isinstance(trainer, Trainer)


def _noting(collect: Any, made: list[type]) -> Any:
    def noted(scores: Any, *rest: Any) -> None:
        made.append(type(scores))
        collect(scores, *rest)

    return noted


def test_the_catalogue_is_encoded_once(settings, pictures, build):
    """However many batches there are."""
    asked = {**settings, **TINY, **pictures, "item_tower": "features", "eval_batch_size": 7}
    config, model, (train, _, test) = build("colour", asked)
    trainer = trainer_class(config)(config, model)
    trainer.eval_collector.data_collect(train)
    before = model.item_tower.n_encoded
    trainer.evaluate(test, load_best_model=False)
    assert len(test) > 3
    assert model.item_tower.n_encoded - before == model.n_items - 1

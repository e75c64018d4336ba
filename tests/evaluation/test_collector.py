"""What metrics are made of, and the metrics themselves, equal those of RecBole's collector and evaluator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from recbole.evaluator import Evaluator
from recbole.evaluator.collector import Collector
from torch import Tensor

from recbole_pixel.evaluation import top_items
from recbole_pixel.evaluation.collector import BlockCollector
from recbole_pixel.evaluation.lazy_scores import LazyProducts, LazyScores
from recbole_pixel.evaluation.score_blocks import Whole

TOP = ["Recall", "NDCG", "MRR", "Hit", "MAP", "Precision"]
OF_ITEMS = ["ItemCoverage", "GiniIndex", "ShannonEntropy", "AveragePopularity", "TailPercentage"]
N_ITEMS = 1203


@pytest.fixture(autouse=True)
def narrow_blocks(monkeypatch) -> None:
    """Blocks so narrow that there are several of this catalogue."""
    monkeypatch.setattr(top_items.top_items, "__defaults__", (None, 256))


class Loader:
    """What collectors read of the training data."""

    def __init__(self) -> None:
        counts = np.random.default_rng(0).integers(1, 200, N_ITEMS)
        self.item_counter = dict(enumerate(counts.tolist()))
        self.dataset = self

    def num(self, field: str) -> int:
        return N_ITEMS


def config_of(metrics: list[str], topk: list[int], digits: int = 10) -> dict[str, Any]:
    return {
        "metrics": metrics, "topk": topk, "metric_decimal_place": digits, "device": torch.device("cpu"),
        "eval_args": {"mode": "full"}, "ITEM_ID_FIELD": "item_id", "USER_ID_FIELD": "user_id", "LABEL_FIELD": "label",
        "tail_ratio": 0.1,
    }  # fmt: skip


Batch = tuple[Tensor, tuple[Tensor, Tensor], Tensor, Tensor]  # users, what is masked, rows and items of positives


def batches(seed: int, n_positives: int, whole_numbers: bool, n_batches: int = 3) -> Iterator[Batch]:
    """Users, the items they consumed (one of them nearly all), and their positives, which are never masked."""
    rng = np.random.default_rng(seed)
    for _ in range(n_batches):
        users = rng.integers(-2, 3, (20, 6)) if whole_numbers else rng.normal(size=(20, 6))
        consumed = {row: set(rng.integers(1, N_ITEMS, 20).tolist()) for row in range(20)}
        consumed[7] = set(rng.choice(np.arange(1, N_ITEMS), N_ITEMS - 6, replace=False).tolist())
        positives = {row: set(rng.integers(1, N_ITEMS, rng.integers(1, n_positives + 1)).tolist()) for row in range(20)}
        history = [(row, item) for row in range(20) for item in consumed[row] - positives[row]]
        wanted = [(row, item) for row in range(20) for item in positives[row]]
        yield torch.from_numpy(users).float(), tuple(torch.tensor(history).T), *torch.tensor(wanted).T


def items_of(seed: int, whole_numbers: bool) -> Tensor:
    rng = np.random.default_rng(seed + 100)
    found = rng.integers(-2, 3, (N_ITEMS, 6)) if whole_numbers else rng.normal(size=(N_ITEMS, 6))
    return torch.from_numpy(found).float()


@torch.no_grad()
def collected(collector: Any, items: Tensor, data: Any, lazily: bool) -> Any:
    """The struct of RecBole's steps: scores, masked as its trainer masks them, and collected."""
    is_ours = isinstance(collector, BlockCollector)
    if is_ours:
        collector.data_collect(Loader())
    for users, history, positive_u, positive_i in data:
        if lazily:
            with LazyProducts(N_ITEMS):
                scores: Any = users @ items.T
            assert isinstance(scores, LazyScores)
        else:
            scores = users @ items.T
        scores[:, 0] = -np.inf
        scores[history] = -np.inf
        collector.eval_batch_collect(scores, None, positive_u, positive_i)
        assert not lazily or not isinstance(scores.blocks, Whole), "the whole scores were never asked for"
    struct = collector.get_data_struct()
    if not is_ours:  # RecBole's cannot: it moves counts to the host as if they were tensors
        struct.set("data.num_items", N_ITEMS)
        struct.set("data.count_items", Loader().item_counter)
    return struct


@pytest.mark.parametrize("topk", [[1], [5, 10], [3, 50]])
@pytest.mark.parametrize("n_positives", [1, 8])
@pytest.mark.parametrize("whole_numbers", [False, True], ids=["continuous", "ties"])
def test_metrics_are_recboles_to_the_last_digit(topk, n_positives, whole_numbers):
    config = config_of([*TOP, *OF_ITEMS, "GAUC"], topk)
    items = items_of(0, whole_numbers)
    ours, theirs = (
        collected(kind(config), items, batches(1, n_positives, whole_numbers), kind is BlockCollector)
        for kind in (BlockCollector, Collector)
    )
    for name in ("rec.topk", "rec.items", "rec.meanrank"):
        assert torch.equal(ours.get(name), theirs.get(name)), name
        assert ours.get(name).dtype == theirs.get(name).dtype, name
    found, expected = (Evaluator(config).evaluate(struct) for struct in (ours, theirs))
    assert found == expected
    assert len(found) == len(topk) * len([*TOP, *OF_ITEMS]) + 1
    assert 0 < found["gauc"] < 1


def test_scores_that_are_there_are_ranked_alike():
    """As those of models that make no product, and of evaluations by sampled negatives."""
    config, items = config_of([*TOP, *OF_ITEMS], [10]), items_of(0, True)
    ours, theirs = (
        collected(kind(config), items, batches(2, 3, True), lazily=False) for kind in (BlockCollector, Collector)
    )
    assert torch.equal(ours.get("rec.topk"), theirs.get("rec.topk"))
    assert torch.equal(ours.get("rec.items"), theirs.get("rec.items"))


def test_metrics_of_all_scores_are_left_to_recbole():
    config = config_of(["AUC", "LogLoss"], [10])
    scores, labels = torch.rand(50), torch.randint(0, 2, (50,))
    found = []
    for kind in (BlockCollector, Collector):
        collector = kind(config)
        collector.eval_batch_collect(scores, {"label": labels}, None, None)
        found.append(Evaluator(config).evaluate(collector.get_data_struct()))
    assert found[0] == found[1]
    assert set(found[0]) == {"auc", "logloss"}


def test_an_evaluation_starts_from_nothing():
    config, items = config_of(["Recall"], [10]), items_of(0, False)
    collector = BlockCollector(config)
    first = collected(collector, items, batches(1, 1, False), lazily=True)
    second = collected(collector, items, batches(1, 1, False), lazily=True)
    assert len(first.get("rec.topk")) == 60
    assert torch.equal(first.get("rec.topk"), second.get("rec.topk"))
    assert collector.sieves.seen is None, "nothing of the model is kept between evaluations"


def test_users_that_are_evaluated_apart_can_be_put_together():
    """A part of the users by each of two collectors: their rows, one behind the other, are those of one."""
    config, items = config_of([*TOP, *OF_ITEMS], [10]), items_of(0, False)
    data = list(batches(1, 4, False, n_batches=4))
    whole = collected(BlockCollector(config), items, data, lazily=True)
    halves = [collected(BlockCollector(config), items, part, lazily=True) for part in (data[:1], data[1:])]
    for name in ("rec.topk", "rec.items"):
        assert torch.equal(torch.cat([half.get(name) for half in halves]), whole.get(name))

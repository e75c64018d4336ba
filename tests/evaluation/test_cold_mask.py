"""Cold items take no part in validation: neither as targets nor among what is ranked. In the test they are ranked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from recbole.utils import get_model
from worlds import random_rows, write_inter

from recbole_pixel.config import make_config
from recbole_pixel.data.cold import draw_cold_items
from recbole_pixel.evaluation.final import evaluate_test
from recbole_pixel.evaluation.history_mask import HistoryMaskMixin
from recbole_pixel.evaluation.lazy_scores import LazyScores
from recbole_pixel.evaluation.per_user import read_per_user
from recbole_pixel.quick_start import prepare_data, trainer_class

SAMPLED = {"eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "uni15"}}


class ColdFirst(torch.nn.Module):
    """Scores cold items above all others; makes them as a product, so that they are lazy."""

    def __init__(self, is_cold: np.ndarray) -> None:
        super().__init__()
        self.items = torch.from_numpy(is_cold).float()[:, None] * 100 + torch.arange(len(is_cold))[:, None] * 1e-3

    def full_sort_predict(self, interaction: Any) -> Any:
        return torch.ones(len(interaction), 1) @ self.items.T

    def predict(self, interaction: Any) -> Any:
        return self.items[interaction["item_id"], 0]


@pytest.mark.parametrize("model", ["PixelSASRec", "PixelMF"])
@pytest.mark.parametrize("how", [{}, SAMPLED], ids=["full", "sampled"])
def test_validation_ranks_warm_items_only(model, how, tmp_path, settings, monkeypatch):
    write_inter(tmp_path, "w", random_rows(1))
    own = {"item_tower": "id", "cold_items": 0.3, "topk": [5], "valid_metric": "NDCG@5", **how}
    config = make_config(model, "w", settings={**settings, **own})
    _, train, valid, test = prepare_data(config)
    cold = train._dataset.cold.is_cold
    assert cold.sum() == 12
    trainer = trainer_class(config)(config, get_model(model)(config, train._dataset))
    assert isinstance(trainer, HistoryMaskMixin)
    trainer.model = ColdFirst(cold)
    trainer.tot_item_num = trainer.item_tensor = None
    trainer.eval_collector.data_collect(train)
    ranked: list[np.ndarray] = []
    get = trainer.eval_collector.eval_batch_collect

    def collect(scores: Any, interaction: Any, rows: Any, items: Any) -> None:
        assert not cold[items].any(), "no cold item is a target"
        is_lazy = isinstance(scores, LazyScores)
        dense = scores.blocks.block(slice(0, len(scores)), slice(0, len(cold))) if is_lazy else scores
        assert is_lazy is not bool(how), "no score is computed for the mask's sake"
        ranked.append(np.isfinite(dense.numpy()).any(0))
        get(scores, interaction, rows, items)

    monkeypatch.setattr(trainer.eval_collector, "eval_batch_collect", collect)
    trainer._valid_epoch(valid)
    assert not np.any(ranked, axis=0)[cold].any(), "none is ranked"
    assert np.any(ranked, axis=0)[~cold].any()
    ranked.clear()
    tested = trainer.evaluate(test, load_best_model=False)
    assert np.any(ranked, axis=0)[cold].any(), "in the test they are"
    if not how:
        assert tested["recall@5"] == 0.0, "and take the first places"


@pytest.mark.parametrize("model", ["PixelSASRec", "PixelMF"])
def test_cold_items_consumed_before_the_target_are_not_recommended(model, tmp_path, settings):
    """Cold ones come first, whoever asks: a target is found where its user had all of them before, not behind it."""
    rows = [(user, item, float(time)) for user, items in HISTORIES.items() for time, item in enumerate(items)]
    write_inter(tmp_path, "w", rows)
    chosen = next(split for split in range(99) if drawn(split) == {"x", "y"})
    own = {"item_tower": "id", "cold_items": 0.25, "cold_split": chosen, "topk": [1], "valid_metric": "NDCG@1"}
    config = make_config(model, "w", settings={**settings, **own, "metrics": ["Hit", "NDCG"], "per_user": "each.npz"})
    _, train, _, test = prepare_data(config)
    dataset = train._dataset
    trainer = trainer_class(config)(config, get_model(model)(config, dataset))
    trainer.model = ColdFirst(dataset.cold.is_cold)
    trainer.model.items[dataset.token2id("item_id", "e")] = 50.0
    trainer.tot_item_num = trainer.item_tensor = None
    trainer.eval_collector.data_collect(train)
    evaluate_test(trainer, test, dataset, load_best_model=False)
    each = read_per_user("each.npz")
    assert dict(zip(each.users, each.targets, strict=True)) == dict.fromkeys(HISTORIES, "e")
    found = dict(zip(each.users, each.metrics["hit@1"].tolist(), strict=True))
    assert found == {"both": 1.0, "one": 0.0, "later": 0.0, "twice": 1.0, "first": 1.0}


HISTORIES = {"both": "axbcyde", "one": "abcxde", "later": "abxcdey", "twice": "xaxbcdye", "first": "xyabcde"}


def drawn(split: int) -> set[str]:
    """Tokens that a split holds out of the items of ``HISTORIES``."""
    tokens = np.array(["[PAD]", *"abcdexy"])
    return set(tokens[draw_cold_items(tokens, np.arange(1, 8), 0.25, split)])

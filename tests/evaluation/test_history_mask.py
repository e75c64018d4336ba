"""What users already consumed is not recommended again, whoever trains; the target stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from worlds import random_rows, write_inter

from recbole_pixel.config import make_config
from recbole_pixel.data.history import Histories
from recbole_pixel.quick_start import prepare_data, trainer_class

MODELS = ("PixelSASRec", "SASRec")


class Stub(torch.nn.Linear):
    """What a trainer can be made from; another model takes its place before it ranks."""

    item_table = "none"


class Favourite(torch.nn.Module):
    """Ranks items by a fixed score, whoever asks."""

    def __init__(self, scores: torch.Tensor) -> None:
        super().__init__()
        self.scores = scores

    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        return self.scores.expand(len(interaction), -1).clone()


def evaluated(
    name: str, settings: dict[str, Any], model: str, scores: dict[str, float], without: str = "", **own: Any
) -> dict[str, float]:
    """RecBole's test metrics for a model that ranks items by ``scores`` (by token)."""
    config = make_config(model, name, settings={**settings, "loss_type": "CE", "item_tower": "id", **own})
    config.final_config_dict.pop(without, None)
    _, train, _, test = prepare_data(config)
    by_id = [scores.get(str(token), -1.0) for token in train._dataset.field2id_token["item_id"]]
    trainer = trainer_class(config)(config, Stub(1, 1))
    trainer.model = Favourite(torch.tensor(by_id))
    trainer.tot_item_num = trainer.item_tensor = None
    trainer.eval_collector.data_collect(train)
    return dict(trainer.evaluate(test, load_best_model=False))


def world(folder: Any, histories: dict[str, str]) -> None:
    """Users and the items they consume, a letter each, in order."""
    write_inter(
        folder, "w", [(user, item, time) for user, items in histories.items() for time, item in enumerate(items)]
    )


TOP_1 = {"topk": [1], "metrics": ["Recall", "NDCG"], "valid_metric": "Recall@1", "eval_batch_size": 2}


@pytest.mark.parametrize("model", MODELS)
def test_consumed_items_are_out_of_the_ranking(tmp_path, settings, model):
    """Everybody's target is what comes after the items they had; those have the higher scores."""
    world(tmp_path, {"u": "abcd", "v": "bacd", "x": "cbad"})
    scores = {"a": 9.0, "b": 8.0, "c": 7.0, "d": 6.0}
    assert evaluated("w", settings, model, scores, **TOP_1)["recall@1"] == 1.0
    assert evaluated("w", settings, model, scores, mask_history=False, **TOP_1)["recall@1"] == 0.0


@pytest.mark.parametrize("model", MODELS)
def test_only_the_users_own_items_are_out(tmp_path, settings, model):
    world(tmp_path, {"u": "abcd", "v": "bfcd"})
    scores = {"a": 9.0, "b": 8.0, "c": 7.0, "d": 6.0}
    assert evaluated("w", settings, model, scores, **TOP_1)["recall@1"] == 0.5, "v never had a"


@pytest.mark.parametrize("model", MODELS)
def test_items_that_the_window_forgot_are_out_too(tmp_path, settings, model):
    world(tmp_path, {"u": "abcdefgh", "v": "badcefgh"})
    scores = {item: 20.0 - place for place, item in enumerate("abcdefgh")}
    short = {**settings, "MAX_ITEM_LIST_LENGTH": 2}
    assert evaluated("w", short, model, scores, **TOP_1)["recall@1"] == 1.0


@pytest.mark.parametrize("model", MODELS)
def test_a_target_that_was_consumed_before_can_still_be_ranked(tmp_path, settings, model):
    world(tmp_path, {"u": "dbcad", "v": "bdcad"})
    scores = {"a": 9.0, "b": 8.0, "c": 7.0, "d": 6.0}
    assert evaluated("w", settings, model, scores, **TOP_1)["recall@1"] == 1.0


@pytest.mark.parametrize("model", MODELS)
def test_what_comes_later_is_not_taken_out(tmp_path, settings, model):
    """On the validation split the test item is no history: it may stand above the target."""
    world(tmp_path, {"u": "abcz", "v": "bacz", "x": "cbaz"})
    config = make_config(model, "w", settings={**settings, "loss_type": "CE", "item_tower": "id", **TOP_1})
    _, train, valid, _ = prepare_data(config)
    by_id = [{"z": 9.0}.get(str(token), 0.0) for token in train._dataset.field2id_token["item_id"]]
    trainer = trainer_class(config)(config, Stub(1, 1))
    trainer.model = Favourite(torch.tensor(by_id))
    trainer.tot_item_num = None
    trainer.eval_collector.data_collect(train)
    assert trainer.evaluate(valid, load_best_model=False)["recall@1"] == 0.0


@pytest.mark.parametrize("model", MODELS)
def test_metrics_are_those_of_a_loop(tmp_path, settings, model):
    rows = random_rows(4, n_users=25, epoch=0)
    write_inter(tmp_path, "w", rows)
    generator = np.random.default_rng(3)
    scores = {f"i{item}": float(score) for item, score in enumerate(generator.permutation(40))}
    found = evaluated("w", settings, model, scores, topk=[5], valid_metric="NDCG@5")
    hits, gains = [], []
    for user in sorted({user for user, *_ in rows}):
        history = [item for _, item, _ in sorted((row for row in rows if row[0] == user), key=lambda row: row[2])]
        if len(history) < 3:
            continue  # one row goes to training; RecBole leaves none out of it
        target, before = history[-1], set(history[:-1])
        ranked = sorted({row[1] for row in rows} - (before - {target}), key=lambda item: -scores[item])
        rank = ranked.index(target)
        hits.append(rank < 5)
        gains.append((rank < 5) / np.log2(rank + 2))
    assert found["recall@5"] == pytest.approx(np.mean(hits), abs=1e-4)
    assert found["ndcg@5"] == pytest.approx(np.mean(gains), abs=1e-4)


def test_consumed_lists_every_item_of_every_row():
    histories = Histories(np.array([1, 1, 1, 2, 2]), np.array([5, 6, 7, 8, 9]))
    rows, items = histories.consumed(torch.tensor([3, 0, 0]), torch.tensor([1, 3, 0]))
    assert rows.tolist() == [0, 1, 1, 1]
    assert items.tolist() == [8, 5, 6, 7]


@pytest.mark.parametrize("model", [*MODELS, "BPR", "PixelMF", "Pop"])
@pytest.mark.parametrize(("mask_history", "expected"), [(True, 0.75), (False, 0.0)])
def test_every_kind_of_model_is_masked_alike(tmp_path, settings, model, mask_history, expected):
    world(tmp_path, {"u": "abcd", "v": "bacd", "x": "cbad", "other": "zyw"})
    scores = {"a": 9.0, "b": 8.0, "c": 7.0, "d": 6.0}
    own = {"mask_history": mask_history, **TOP_1, "loss_type": "BPR"}
    found = evaluated("w", settings, model, scores, **own)["recall@1"]
    assert found == expected, "masked, all but the other; unmasked, everybody has a better one behind them"


@pytest.mark.parametrize("model", ["BPR", "SASRec"])
def test_without_the_key_recboles_ways_stay(tmp_path, settings, model):
    """As under RecBole's own run_recbole: general models are masked, sequential ones are not."""
    world(tmp_path, {"u": "abcd", "v": "bacd", "x": "cbad", "other": "zyw"})
    scores = {"a": 9.0, "b": 8.0, "c": 7.0, "d": 6.0}
    found = evaluated("w", settings, model, scores, without="mask_history", **TOP_1)["recall@1"]
    assert found == {"BPR": 0.75, "SASRec": 0.0}[model]


def test_batches_of_recbole_without_our_fields_are_left_alone(tmp_path, settings):
    """A model trained on RecBole's own rows (run_recbole of a stock model) has no histories to mask by."""
    world(tmp_path, {"u": "abcd", "v": "bacd"})
    config = make_config("SASRec", "w", settings={**settings, "loss_type": "CE"})
    _, train, *_ = prepare_data(config)
    trainer = trainer_class(config)(config, Stub(1, 1))
    trainer.model = Favourite(torch.arange(train._dataset.item_num).float())
    trainer.tot_item_num, trainer._histories = train._dataset.item_num, None
    interaction = Interaction({"item_id_list": torch.tensor([[1, 2]]), "item_length": torch.tensor([2])})
    scores = trainer._full_sort_batch_eval((interaction, None, torch.tensor([0]), torch.tensor([3])))[1]
    assert torch.isfinite(scores[0, 1:]).all()


class Interrupted(Favourite):
    """Is stopped at its second batch, once."""

    n_batches = 0

    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        self.n_batches += 1
        if self.n_batches == 2:
            raise KeyboardInterrupt
        return super().full_sort_predict(interaction)


def test_an_interrupted_evaluation_leaves_nothing_behind(tmp_path, settings):
    """Two users of four are hit; with the first batch counted twice, it would be two thirds, or a third."""
    world(tmp_path, {"u1": "abcd", "u2": "bacd", "u3": "abec", "u4": "baec"})
    config = make_config("SASRec", "w", settings={**settings, **TOP_1, "loss_type": "CE", "item_tower": "id"})
    _, train, _, test = prepare_data(config)
    trainer = trainer_class(config)(config, Stub(1, 1))
    tokens = train._dataset.field2id_token["item_id"]
    trainer.model = Interrupted(torch.tensor([float(token == "d") for token in tokens]))
    trainer.tot_item_num = trainer.item_tensor = None
    trainer.eval_collector.data_collect(train)
    with pytest.raises(KeyboardInterrupt):
        trainer.evaluate(test, load_best_model=False)
    assert trainer.evaluate(test, load_best_model=False)["recall@1"] == 0.5

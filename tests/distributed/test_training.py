"""Two ranks train the model that one process trains: losses, parameters and metrics; and nothing is done twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rank_work
from worlds import colour_world

SETTINGS: dict[str, Any] = {
    "encoder": "test_resnet",
    "encoder_weights": "random",  # its batch norms learn
    "image_size": 32,
    "tune": "full",
    "hidden_size": 16,
    "inner_size": 16,
    "n_layers": 1,
    "n_heads": 1,
    "hidden_dropout_prob": 0.0,
    "attn_dropout_prob": 0.0,
    "embedding_size": 16,
    "MAX_ITEM_LIST_LENGTH": 10,
    "train_batch_size": 16,  # 33 rows of sequences: the last batch has one
    "eval_batch_size": 10,
    "encoder_chunk": 16,
    "metric_decimal_place": 7,
    "learner": "sgd",  # Adam turns differences of rounding into steps where a gradient is zero
    "learning_rate": 0.01,
    "encoder_learning_rate": 0.0001,
    "precision": "float32",
    "epochs": 2,
    "show_progress": False,
    "state": "ERROR",
    "seed": 1,
}

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "sequence CE": ("PixelSASRec", {}),
    "sequence CE, extra and cold": ("PixelSASRec", {"extra_candidates": 7, "cold_items": 0.1, "accumulate_steps": 2}),
    "sequence BPR": ("PixelSASRec", {"loss_type": "BPR"}),
    "prefix CE": ("PixelSASRec", {"train_rows": "prefix", "train_batch_size": 100}),
    "prefix shared BCE": (
        "PixelSASRec",
        {"train_rows": "prefix", "train_batch_size": 100, "loss_type": "BCE", "shared_negatives": 9, "epochs": 1},
    ),
    "ID CE": ("PixelSASRec", {"item_tower": "id"}),
    "ID BPR": ("PixelSASRec", {"item_tower": "id", "loss_type": "BPR"}),
    "own vectors CE": (
        "PixelSASRec",
        {"own_vectors": True, "extra_candidates": 7, "cold_items": 0.1, "batch_norm": "frozen", "feature_noise": 0.0},
    ),
    "pairs BPR": ("PixelMF", {"train_batch_size": 100}),
    "pairs CE": ("PixelMF", {"loss_type": "CE", "train_batch_size": 100, "epochs": 1}),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    colour_world(folder, "w", n_users=33, n_items=30, length=8)
    return folder


@pytest.fixture
def both(ranks, world, tmp_path, monkeypatch):
    """A function that trains in one process, then in two: what :func:`rank_work.train` returned in each."""
    monkeypatch.chdir(tmp_path)

    def trained(model: str, **own: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        settings = {**SETTINGS, "data_path": str(world), **own}
        one = rank_work.train(tmp_path / "one", model, "w", settings)
        return one, ranks(rank_work.train, tmp_path / "two", model, "w", settings)

    return trained


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_train_what_one_process_trains(both, case):
    model, own = CASES[case]
    one, two = both(model, **own)
    losses = np.mean([answer["losses"] for answer in two], axis=0)
    np.testing.assert_allclose(losses, one["losses"], atol=1e-4)
    for answer in two:
        for name, values in one["state"].items():
            np.testing.assert_allclose(answer["state"][name], values, atol=1e-4, err_msg=name)
        for part in ("best_valid", "test"):
            assert answer["result"][part] == pytest.approx(one["result"][part], abs=1e-4)
        assert answer["result"].get("cold") == one["result"].get("cold")
        assert answer["result"]["pictures_per_epoch"] == one["result"]["pictures_per_epoch"]
    assert np.ptp(one["losses"]) > 0.01, "something was learnt"
    check_work_is_shared(one, two)


def check_work_is_shared(one: dict[str, Any], two: list[dict[str, Any]]) -> None:
    """Every item that one process encoded was encoded by one of the ranks, as often; so were users scored."""
    assert Counter(users(one)) == Counter(users(two[0])) + Counter(users(two[1]))
    for training in (True, False):
        alone, first, second = (Counter(items(run, training)) for run in (one, *two))
        assert alone == first + second
        if alone:
            assert min(first.total(), second.total()) > 0.4 * alone.total(), "each did about half"
    for ours, theirs in zip(two[0]["encoded"], two[1]["encoded"], strict=False):
        if ours[0] and theirs[0]:
            assert not set(ours[1]) & set(theirs[1]), "no item of a step is encoded twice"


def users(run: dict[str, Any]) -> list[int]:
    return [user for batch in run["scored"] for user in batch]


def items(run: dict[str, Any], training: bool) -> list[int]:
    return [item for was_training, ids in run["encoded"] if was_training is training for item in ids]


def test_only_the_first_rank_writes(both, tmp_path):
    _, two = both("PixelSASRec", item_tower="id", epochs=1, result_file="result.json")
    files = [path for path in (tmp_path / "two").rglob("*") if path.is_file()]
    assert sum(path.parent.suffix == ".run" for path in files) == 3, "the states of one run, and its lock"
    written = [path for path in files if path.parent.suffix != ".run"]
    kinds = Counter("events" if path.name.startswith("events.") else path.suffix for path in written)
    assert kinds == {".json": 1, ".pth": 1, ".log": 1, "events": 2}, "tensorboard keeps hyper-parameters apart"
    assert {answer["result"]["checkpoint"] for answer in two} == {
        str(path) for path in written if path.suffix == ".pth"
    }


def test_without_gathered_negatives_each_rank_ranks_against_its_own_items(both):
    one, two = both("PixelSASRec", gather_negatives=False, epochs=1)
    first, second = ([set(ids) for training, ids in run["encoded"] if training] for run in two)
    whole = [set(ids) for training, ids in one["encoded"] if training]
    assert all(a | b == both for a, b, both in zip(first, second, whole, strict=True))
    assert any(a & b for a, b in zip(first, second, strict=True)), "both encode what both need"
    assert np.mean([run["losses"][0] for run in two]) < one["losses"][0] - 0.01, "fewer candidates are an easier choice"
    for name, values in two[0]["state"].items():
        np.testing.assert_allclose(two[1]["state"][name], values, atol=1e-6, err_msg=name)


def test_a_model_that_cannot_is_refused(ranks, world, tmp_path):
    for model in ("SASRec", "Pop"):
        answers = ranks(rank_work.refusal, tmp_path, model, {**SETTINGS, "data_path": str(world)})
        assert answers == [f"{model} trains in one process, and 2 were started"] * 2

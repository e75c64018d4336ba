"""Test results one by one: their means are the printed metrics, their ranks and counts those of the .inter file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worlds import random_rows, write_inter

from recbole_pixel.config_files import SettingError
from recbole_pixel.evaluation.per_user import PerUser, read_per_user
from recbole_pixel.quick_start import run

ALL_METRICS = {"metrics": ["Recall", "NDCG", "MRR", "Hit", "MAP", "Precision", "ItemCoverage"], "topk": [3, 10]}
BY_RATIO = {"eval_args": {"split": {"RS": [0.6, 0.2, 0.2]}, "order": "TO", "group_by": "user", "mode": "full"}}
OF_MODELS: dict[str, dict[str, Any]] = {
    "PixelSASRec": {"item_tower": "id"},
    "PixelMF": {"item_tower": "id"},
    "SASRec": {},
    "BPR": {},
    "Pop": {},
    "RepeatLast": {},
}


@pytest.fixture
def rows(tmp_path) -> list[tuple[str, str, float]]:
    """Interactions in exact order, no two at the same time, of users with at least four."""
    drawn = random_rows(3, 24, 30, 14)
    length = Counter(user for user, _, _ in drawn)
    rows = [(user, item, float(place)) for place, (user, item, _) in enumerate(drawn) if length[user] > 3]
    write_inter(tmp_path, "w", rows)
    return rows


@pytest.fixture
def results(settings, rows, tmp_path) -> Any:
    """A function that runs a model for an epoch: its result and its results one by one."""

    def made(model: str, **own: Any) -> tuple[dict[str, Any], PerUser]:
        path = tmp_path / "each" / f"{model}.npz"
        own = {"epochs": 1, "metric_decimal_place": 6, "per_user": str(path), **OF_MODELS[model], **own}
        known = settings if model.startswith("Pixel") else {key: settings[key] for key in PLAIN}
        return run(model, "w", settings={**known, **own}), read_per_user(path)

    return made


PLAIN = ("data_path", "checkpoint_dir", "show_progress", "state", "seed", "MAX_ITEM_LIST_LENGTH", "train_batch_size")


def by_time(rows: list[tuple[str, str, float]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for user, item, _ in sorted(rows, key=lambda row: row[2]):
        found.setdefault(user, []).append(item)
    return found


@pytest.mark.parametrize("model", OF_MODELS)
def test_means_are_the_printed_metrics_and_targets_those_of_the_file(model, results, rows):
    result, each = results(model, **ALL_METRICS)
    own = {name: value for name, value in result["test"].items() if not name.startswith("itemcoverage")}
    assert set(each.metrics) == set(own)
    for name, value in own.items():
        assert each.metrics[name].mean() == pytest.approx(value, abs=1e-5), name
        assert each.metrics[name].dtype == np.float32
    histories = by_time(rows)
    expected = {user: items[-1] for user, items in histories.items()}
    found = dict(zip(each.users[each.target_user], each.targets, strict=True))
    assert found == expected, "leave-one-out by time"
    in_training = Counter(item for items in histories.values() for item in items[:-2])
    assert each.counts.tolist() == [in_training[item] for item in each.targets]
    hit = (each.ranks > 0) & (each.ranks <= 3)
    np.testing.assert_array_equal(each.metrics["hit@3"][each.target_user], hit)
    gain = hit / np.log2(np.maximum(each.ranks, 1) + 1.0)
    np.testing.assert_allclose(each.metrics["ndcg@3"][each.target_user], gain, atol=1e-6)


def test_ranks_are_places_in_the_list(results, rows):
    """RepeatLast ranks newest first what the user consumed: without the mask a target's rank is known."""
    _, each = results("RepeatLast", mask_history=False, topk=[5], valid_metric="NDCG@5")
    histories, n_found = by_time(rows), 0
    for user, target, rank in zip(each.users[each.target_user], each.targets, each.ranks, strict=True):
        seen = list(dict.fromkeys(reversed(histories[user][:-1])))
        if target in seen:
            n_found += 1
            assert rank == (seen.index(target) + 1 if seen.index(target) < 5 else 0), (user, target)
    assert n_found > 3


@pytest.mark.parametrize("model", ["PixelSASRec", "PixelMF", "SASRec", "BPR"])
def test_splits_with_several_targets_of_a_user(model, results, rows):
    result, each = results(model, **BY_RATIO)
    for name, value in result["test"].items():
        assert each.metrics[name].mean() == pytest.approx(value, abs=1e-5)
    ranks_apart = model.endswith("SASRec")
    assert (len(np.unique(each.users)) < len(each.users)) is ranks_apart
    assert (len(each.targets) > len(each.users)) is not ranks_apart
    users, means = each.by_user("recall@10")
    chosen = max(users, key=lambda user: (each.users == user).sum())
    assert means[users == chosen] == pytest.approx(each.metrics["recall@10"][each.users == chosen].mean())


def test_kinds_of_models_have_the_same_targets(results):
    """Of a split by ratio, where general models have a row for each user and sequential ones for each target."""
    targets = []
    for model in ("PixelSASRec", "SASRec", "BPR"):
        each = results(model, **BY_RATIO)[1]
        triples = zip(each.users[each.target_user], each.targets, each.counts, strict=True)
        targets.append(sorted(set(triples)))
    assert targets[0] == targets[1] == targets[2]
    assert len(targets[0]) > 20


def test_sampled_negatives_and_models_that_score_whole(results):
    result, each = results("BPR", eval_args={"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "uni10"})
    assert each.metrics["recall@10"].mean() == pytest.approx(result["test"]["recall@10"], abs=1e-5)
    assert len(np.unique(each.users)) == len(each.users) > 15


def test_no_metric_that_ranks_is_an_error_only_where_ranks_were_asked_for(results, settings):
    own = {"metrics": ["AUC"], "valid_metric": "AUC", "eval_args": {"split": {"LS": "valid_and_test"}, "mode": "uni5"}}
    with pytest.raises(SettingError, match=r"per_user asks how targets rank; the metrics \['AUC'\] rank no items"):
        results("BPR", **own)
    result = run("BPR", "w", settings={**{key: settings[key] for key in PLAIN}, "epochs": 1, **own})
    assert "popularity" not in result
    assert 0 <= result["test"]["auc"] <= 1


def test_another_file_is_refused(tmp_path: Path):
    path = tmp_path / "other.npz"
    np.savez(path, a=np.zeros(2))
    with pytest.raises(ValueError, match="has no 'user'; expected a file that the setting per_user wrote"):
        read_per_user(path)

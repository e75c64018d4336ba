"""The ranking of held-out items, against ranks computed by hand and by a loop."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from worlds import random_rows, write_inter

from recbole_pixel.data.cold import ColdItems
from recbole_pixel.data.history import Histories
from recbole_pixel.evaluation.cold import rank_cold, ranks_of


def dataset_of(users: list[int], items: list[int], cold: set[int], n_items: int, window: int = 5) -> Any:
    """What ``rank_cold`` reads of a dataset, from interactions sorted by user and time."""
    users_, items_ = np.array(users), np.array(items)
    is_cold = np.zeros(n_items, dtype=bool)
    is_cold[list(cold)] = True
    warm = ~is_cold[items_]
    return SimpleNamespace(
        cold=ColdItems.of(users_, items_, is_cold),
        histories=Histories(users_[warm], items_[warm]),
        max_item_list_len=window,
        uid_field="user_id",
        item_id_list_field="item_id_list",
        item_list_length_field="item_length",
    )


class ByUser(torch.nn.Module):
    """Scores from a table (user, item); keeps the batches that it saw."""

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__()
        self.table, self.seen = table, []

    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        self.seen.append(interaction)
        return self.table[interaction["user_id"]]


CPU = torch.device("cpu")


def evaluate_cold(model: Any, dataset: Any, *how: Any) -> dict[str, Any]:
    found = rank_cold(model, dataset, *how).summary()
    return {"n_items": int(dataset.cold.is_cold.sum()), **found}


def test_ranks_count_what_is_above_and_half_of_what_is_equal():
    scores = torch.tensor([[5.0, 3.0, 9.0, 3.0], [1.0, 1.0, 1.0, 1.0], [0.0, 2.0, 1.0, -torch.inf]])
    own = torch.tensor([[3.0], [1.0], [2.0]])
    assert ranks_of(own, scores).tolist() == [2.5, 1.5, 0.0]


def test_hand_computed_ranks():
    """User 1 had items 1, 2 and the cold 13; then comes the cold 14. Items 15 and 16 are cold too, twelve are warm."""
    dataset = dataset_of([1, 1, 1, 1], [1, 2, 13, 14], {13, 14, 15, 16}, 17)
    table = torch.zeros(2, 17)
    table[1] = torch.tensor([99.0, 98, 97, 10, 9, 8, 0, 0, 0, 0, 0, 0, 0, 5, 7, 8.5, 1])
    found = evaluate_cold(ByUser(table), dataset, CPU)
    # 13: below 3, 4, 5, 15, 14 of all: rank 5; among the cold below 15 and 14: 2.
    # 14: 13 is masked now; below 3, 4, 5, 15 of all: rank 4; among the cold below 15: 1.
    gains = {"all": (1 / np.log2(7) + 1 / np.log2(6)) / 2, "cold": (1 / np.log2(4) + 1 / np.log2(3)) / 2}
    assert (found["n_items"], found["cases"]) == (4, 2)
    assert found["all"]["hit@10"] == found["cold"]["hit@10"] == 1.0
    assert found["all"]["ndcg@10"] == pytest.approx(gains["all"], abs=1e-4)
    assert found["cold"]["ndcg@10"] == pytest.approx(gains["cold"], abs=1e-4)
    assert found["all"]["chance"] == pytest.approx((10 / 14 + 10 / 13) / 2, abs=1e-4), "14 and 13 items are ranked"
    assert found["cold"]["chance"] == 1.0


def brute_force(users: list[int], items: list[int], cold: set[int], table: torch.Tensor) -> dict[str, Any]:
    hits: dict[str, list[float]] = {"all": [], "cold": []}
    gains: dict[str, list[float]] = {"all": [], "cold": []}
    chances: dict[str, list[float]] = {"all": [], "cold": []}
    for place, (user, target) in enumerate(zip(users, items, strict=True)):
        before = [item for other, item in zip(users[:place], items[:place], strict=True) if other == user]
        if target not in cold or not set(before) - cold:
            continue
        for name, pool in (("all", range(1, table.shape[1])), ("cold", sorted(cold))):
            ranked = [item for item in pool if item == target or item not in before]
            own = table[user, target]
            rank = sum(float(table[user, item] > own) + 0.5 * float(table[user, item] == own) for item in ranked) - 0.5
            hits[name].append(rank < 10)
            gains[name].append((rank < 10) / np.log2(rank + 2))
            chances[name].append(min(1.0, 10 / len(ranked)))
    means = {
        name: {"hit@10": np.mean(hits[name]), "ndcg@10": np.mean(gains[name]), "chance": np.mean(chances[name])}
        for name in hits
    }
    return {"n_items": len(cold), "cases": len(hits["all"]), **means}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("batch_size", [7, 256])
def test_a_loop_finds_the_same(seed, batch_size):
    """Random scores with ties, items consumed twice, users who begin with cold items."""
    rng = np.random.default_rng(seed)
    users, items = np.sort(rng.integers(1, 15, 250)).tolist(), rng.integers(1, 60, 250).tolist()
    cold = set(rng.choice(np.arange(1, 60), 18, replace=False).tolist())
    table = torch.from_numpy(rng.integers(0, 25, (15, 60))).float()
    found = evaluate_cold(ByUser(table), dataset_of(users, items, cold, 60), CPU, batch_size)
    expected = brute_force(users, items, cold, table)
    assert (found["n_items"], found["cases"]) == (expected["n_items"], expected["cases"])
    assert found["cases"] > 40
    for name in ("all", "cold"):
        assert found[name] == pytest.approx(expected[name], abs=1e-4)


def test_the_model_sees_the_newest_warm_items_and_no_cold_one():
    dataset = dataset_of([1] * 6, [1, 2, 9, 3, 4, 10], {9, 10}, 11, window=3)
    model = ByUser(torch.zeros(2, 11))
    evaluate_cold(model, dataset, CPU)
    (batch,) = model.seen
    assert batch["item_id_list"].tolist() == [[1, 2, 0], [2, 3, 4]]
    assert batch["item_length"].tolist() == [2, 3]


def test_large_catalogues_are_ranked_fewer_cases_at_a_time(monkeypatch):
    """The scores that exist at a time are bounded, and what comes out is the same."""
    rng = np.random.default_rng(3)
    users, items = np.sort(rng.integers(1, 15, 250)).tolist(), rng.integers(1, 60, 250).tolist()
    dataset = dataset_of(users, items, set(range(1, 20)), 60)
    whole, parts = (ByUser(torch.from_numpy(np.random.default_rng(4).random((15, 60))).float()) for _ in range(2))
    expected = evaluate_cold(whole, dataset, CPU)
    monkeypatch.setattr("recbole_pixel.evaluation.cold.SCORES", 200)
    assert evaluate_cold(parts, dataset, CPU) == expected
    assert max(len(batch["user_id"]) for batch in whole.seen) > 40
    assert {len(batch["user_id"]) for batch in parts.seen[:-1]} == {200 // 60}


def test_a_random_model_is_at_chance():
    rng = np.random.default_rng(0)
    users, items = np.repeat(np.arange(1, 301), 20), rng.integers(1, 200, 6000)
    cold = set(range(1, 61))
    table = torch.from_numpy(rng.random((301, 200))).float()
    found = evaluate_cold(ByUser(table), dataset_of(users.tolist(), items.tolist(), cold, 200), CPU)
    for name in ("all", "cold"):
        assert abs(found[name]["hit@10"] / found[name]["chance"] - 1) < 0.2
    tied = evaluate_cold(ByUser(torch.zeros(301, 200)), dataset_of(users.tolist(), items.tolist(), cold, 200), CPU)
    assert tied["all"]["hit@10"] == 0.0, "ties are no hits: the middle of all is not among the first ten"


def test_cold_items_that_nobody_meets_with_a_history_make_no_cases():
    dataset = dataset_of([1, 1, 2, 2], [9, 1, 9, 2], {9}, 10)
    found = evaluate_cold(ByUser(torch.zeros(3, 10)), dataset, CPU)
    assert found["cases"] == 0
    assert found["all"] == found["cold"] == {"hit@10": None, "ndcg@10": None, "chance": None}


def test_the_result_has_the_cold_items_only_where_they_were_held_out(tmp_path, settings):
    from recbole_pixel.quick_start import run

    write_inter(tmp_path, "w", random_rows(0))
    own = {**settings, "item_tower": "id", "epochs": 1}
    assert "cold" not in run("PixelSASRec", "w", settings=own)
    cold = run("PixelSASRec", "w", settings={**own, "cold_items": 0.2})["cold"]
    assert set(cold) == {"n_items", "cases", "all", "cold", "calibration", "offset", "trade_off"}
    assert cold["cold"]["chance"] > cold["all"]["chance"] > 0
    from recbole_pixel.config_files import SettingError

    with pytest.raises(SettingError, match="item_tower=id"):
        run("SASRec", "w", settings={**settings, "cold_items": 0.2})

"""Metrics by popularity, against hand-made ranks; and in the result of a run of any kind of model."""

from __future__ import annotations

import json

import numpy as np
import pytest
from worlds import random_rows, write_inter

from recbole_pixel.config_files import SettingError
from recbole_pixel.evaluation.popularity import bucket_starts, by_popularity
from recbole_pixel.quick_start import run
from recbole_pixel.result_table import result_lines

COUNTS = np.array([0, 0, 1, 9, 9, 12, 50])
RANKS = np.array([1, 0, 3, 11, 2, 0, 10])


def test_hand_computed_buckets():
    found = by_popularity(COUNTS, RANKS, [5, 20], [0, 1, 10, 60])
    assert [(bucket["from"], bucket["to"], bucket["targets"]) for bucket in found] == [
        (0, 0, 2), (1, 9, 3), (10, 59, 2), (60, None, 0),
    ]  # fmt: skip
    assert [bucket["hit@5"] for bucket in found] == [0.5, pytest.approx(2 / 3, abs=1e-4), 0.0, None]
    assert [bucket["hit@20"] for bucket in found] == [0.5, 1.0, 0.5, None]
    assert found[1]["ndcg@5"] == pytest.approx((1 / np.log2(4) + 1 / np.log2(3)) / 3, abs=1e-4)
    assert found[2]["ndcg@20"] == pytest.approx(0.5 / np.log2(11), abs=1e-4)


def test_a_number_of_buckets_has_as_many_targets_in_each_and_those_never_seen_apart():
    counts = np.array([0] * 4 + list(range(1, 31)))
    found = by_popularity(counts, np.zeros(34), [10], 4)
    assert [(bucket["from"], bucket["targets"]) for bucket in found] == [(0, 4), (1, 10), (11, 10), (21, 10)]
    assert bucket_starts(counts[4:], 3) == [1, 11, 21], "nobody asks for what was never seen"
    assert bucket_starts(np.full(9, 7), 3) == [7], "one count is one bucket"
    assert bucket_starts(np.zeros(3, int), 3) == [0]


@pytest.mark.parametrize("wanted", [0, [], [5, 1], [-1, 3], [1, 1], "ten", True, [0.5]])
def test_other_buckets_are_refused(wanted):
    with pytest.raises(ValueError, match="expected a number of buckets, or the least count of each"):
        bucket_starts(COUNTS, wanted)


@pytest.mark.parametrize("model", ["PixelSASRec", "Pop"])
def test_a_run_has_and_prints_them(model, settings, tmp_path):
    write_inter(tmp_path, "w", random_rows(0))
    keys = ("data_path", "checkpoint_dir", "show_progress", "state", "seed")
    own = settings | {"item_tower": "id"} if model == "PixelSASRec" else {key: settings[key] for key in keys}
    file = tmp_path / "result.json"
    result = run(model, "w", settings={**own, "epochs": 1, "popularity_buckets": [0, 5, 8], "result_file": str(file)})
    buckets = json.loads(file.read_text())["popularity"]
    assert buckets == result["popularity"]
    n_targets = sum(bucket["targets"] for bucket in buckets)
    of_all = sum(bucket["targets"] * (bucket["hit@10"] or 0) for bucket in buckets) / n_targets
    assert of_all == pytest.approx(result["test"]["recall@10"], abs=1e-3), "one target a user: the same hits"
    printed = "\n".join(result_lines(result))
    assert f"{buckets[1]['targets']} targets consumed 5 to 7 times in training: hit@10" in printed
    assert "popularity" not in run(model, "w", settings={**own, "epochs": 1, "popularity_buckets": None})
    with pytest.raises(SettingError, match="popularity_buckets is"):
        run(model, "w", settings={**own, "popularity_buckets": [3, 2]})

"""Calibrated cold items against formulas and loops, and the trade-off of a run against runs that took it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from worlds import random_rows, write_inter

from recbole_pixel.config_files import SettingError
from recbole_pixel.evaluation.cold_calibration import Calibrated, ColdCalibration
from recbole_pixel.evaluation.cold_trade_off import _ranks
from recbole_pixel.evaluation.score_blocks import MaskedPairs, Whole
from recbole_pixel.quick_start import run
from recbole_pixel.result_table import result_lines

B, N = 9, 40
OFFSETS = (0.0, 0.3, 2.0)


@pytest.fixture
def world() -> tuple[torch.Tensor, torch.Tensor]:
    """Scores with ties and masks, cold items' on a scale of their own; and which are cold."""
    generator = torch.Generator().manual_seed(0)
    is_cold = torch.arange(N) % 3 == 1
    scores = torch.randint(-4, 9, (B, N), generator=generator).float()
    scores = torch.where(is_cold, scores * 0.125 - 3, scores)
    scores[torch.rand(B, N, generator=generator) < 0.2] = -torch.inf
    scores[:, 0] = -torch.inf
    return scores, is_cold


def finite(row: torch.Tensor) -> np.ndarray:
    return row[row > -torch.inf].numpy()


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("kind", ["none", "standard"])
def test_cold_scores_have_the_moments_of_the_warm_ones_and_keep_their_order(world, kind, offset):
    scores, is_cold = world
    found = Calibrated(Whole(scores), ColdCalibration(is_cold, kind, offset)).block(slice(0, B), slice(0, N))
    assert torch.equal(found[:, ~is_cold], scores[:, ~is_cold])
    assert torch.equal(found == -torch.inf, scores == -torch.inf), "what is masked stays so"
    for before, after in zip(scores, found, strict=True):
        warm, cold, lifted = (finite(row) for row in (before[~is_cold], before[is_cold], after[is_cold]))
        if kind == "standard":
            assert lifted.mean() == pytest.approx(warm.mean() + offset * warm.std(), abs=1e-4)
            assert lifted.std() == pytest.approx(warm.std(), abs=1e-4)
        else:
            assert lifted == pytest.approx(cold + offset * warm.std(), abs=1e-5)
        assert np.array_equal(lifted.argsort(kind="stable"), cold.argsort(kind="stable"))


def test_blocks_are_parts_of_the_whole(world):
    scores, is_cold = world
    calibration = ColdCalibration(is_cold, "standard", 0.5)
    whole = Calibrated(Whole(scores), calibration).block(slice(0, B), slice(0, N))
    in_parts = Calibrated(Whole(scores), calibration, limit=3 * N)
    rows = torch.tensor([7, 2, 2])
    assert torch.equal(in_parts.block(rows, slice(5, 31)), whole[rows][:, 5:31])
    assert torch.equal(in_parts.block(slice(2, 6), slice(0, 1)), whole[2:6, :1])


@pytest.mark.parametrize("kind", ["none", "standard"])
def test_ranks_are_those_of_a_loop(world, kind):
    scores, is_cold = world
    targets = torch.tensor([int((row > -torch.inf).nonzero()[place]) for place, row in enumerate(scores)])
    assert 0 < is_cold[targets].sum() < B, "cold and warm ones"
    calibration = ColdCalibration(is_cold, kind)
    found = calibration.ranks_by_offset(scores, targets, calibration.line(scores), OFFSETS)
    for place, offset in enumerate(OFFSETS):
        lifted = Calibrated(Whole(scores), ColdCalibration(is_cold, kind, offset)).block(slice(0, B), slice(0, N))
        for row, target in enumerate(targets):
            others = np.delete(lifted[row].numpy(), target)
            own = lifted[row, target].item()
            assert found[row, place] == (others > own).sum() + (others == own).sum() / 2, (row, offset)


def test_scores_that_do_not_vary_are_moved_only():
    is_cold = torch.tensor([False, False, True, True])
    scores = torch.tensor([[2.0, 4.0, -1.0, -1.0], [5.0, 5.0, 1.0, 3.0], [1.0, -torch.inf, -torch.inf, -torch.inf]])
    found = Calibrated(Whole(scores), ColdCalibration(is_cold, "standard")).block(slice(0, 3), slice(0, 4))
    assert found.tolist()[:2] == [[2.0, 4.0, 3.0, 3.0], [5.0, 5.0, 4.0, 6.0]]
    assert torch.equal(found[2], scores[2]), "nothing is left to rank, nothing turns into a number"


@pytest.mark.parametrize(("model", "kind"), [("PixelSASRec", "none"), ("PixelMF", "standard")])
def test_a_run_tells_what_other_offsets_would_have_given(model, kind, tmp_path, settings):
    """Trained alike: what is printed for an offset is what a run with it reports, for cold and for warm targets."""
    write_inter(tmp_path, "w", random_rows(2, n_users=40, n_items=60))
    own = {**settings, "item_tower": "id", "epochs": 1, "cold_items": 0.3, "cold_calibration": kind, "metrics": ["Hit"]}
    results = [run(model, "w", settings={**own, "valid_metric": "Hit@10", "cold_offset": at}) for at in (0.0, 0.75)]
    assert results[0]["cold"]["trade_off"] == results[1]["cold"]["trade_off"]
    points = {at["offset"]: at for at in results[0]["cold"]["trade_off"]}
    for offset, result in zip((0.0, 0.75), results, strict=True):
        assert points[offset]["cold"] == result["cold"]["all"]["hit@10"]
        assert points[offset]["warm"] == pytest.approx(result["test"]["hit@10"], abs=1e-4)
        assert (result["cold"]["calibration"], result["cold"]["offset"]) == (kind, offset)
    assert results[0]["cold"]["cold"] == results[1]["cold"]["cold"], "among themselves nothing changes"
    assert results[0]["best_valid"] == results[1]["best_valid"], "nor for validation"
    assert points[1.5]["cold"] > points[0.0]["cold"]
    assert points[1.5]["warm"] < points[0.0]["warm"]
    one, other = points[0.75]["cold"], points[0.75]["warm"]
    assert points[0.75]["harmonic"] == pytest.approx(2 * one * other / (one + other), abs=1e-3)
    printed: Any = "\n".join(result_lines(results[0]))
    assert f"by cold_offset: 0: {points[0.0]['cold']:.4f}, {points[0.0]['warm']:.4f}; 0.25:" in printed


def test_another_calibration_is_refused(settings):
    with pytest.raises(SettingError, match="cold_calibration is 'standart', expected one of none, standard"):
        run("PixelSASRec", "w", settings={**settings, "cold_calibration": "standart"})


def test_every_target_of_a_user_is_ranked_behind_the_same_mask():
    masked = MaskedPairs(Whole(torch.arange(12.0).view(2, 6)), torch.tensor([0, 1]), torch.tensor([5, 4]), -torch.inf)
    rows, targets = torch.tensor([0, 0, 1]), torch.tensor([3, 1, 3])
    calibration = ColdCalibration(torch.tensor([False] * 5 + [True]))
    ranks = _ranks(masked, rows, targets, calibration)
    assert ranks[:, 0].tolist() == [1, 3, 1], "item 5 of the first user and 4 of the second are not ranked"

"""A run that was killed and gone on with is the run that was not: to the last bit of its weights and its metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from killed_runs import assert_same, ends, killed_run
from worlds import colour_world, random_rows, write_inter

from recbole_pixel.config_files import SettingError
from recbole_pixel.data.loader import PixelTrainDataLoader
from recbole_pixel.item_tower import ItemTower
from recbole_pixel.quick_start import run
from recbole_pixel.resumable import Resumable
from recbole_pixel.trainer import PixelTrainer

STEPS: dict[str, Any] = {
    "checkpoint_steps": 2, "epochs": 2, "hidden_dropout_prob": 0.3, "metric_decimal_place": 7, "train_batch_size": 4,
}  # fmt: skip
ID = {**STEPS, "item_tower": "id"}
CLIPPED = {"clip_grad_norm": {"max_norm": 1.0}, "accumulate_steps": 2, "checkpoint_steps": 1}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "ids, all items ranked": ("PixelSASRec", {**ID, "lr_schedule": "cosine", "warmup_steps": 3}),
    "ids, drawn items and accumulated": ("PixelSASRec", {**ID, **CLIPPED, "extra_candidates": 5}),
    "prefix rows, BPR": ("PixelSASRec", {**ID, "train_rows": "prefix", "loss_type": "BPR", "train_batch_size": 40}),
    "masked rows": ("PixelBERT4Rec", {**ID, "masked_copies": 1}),
    "pairs": ("PixelMF", {**ID, "loss_type": "BPR", "train_batch_size": 60}),
    "pictures": ("PixelSASRec", {**STEPS, "encoder": "test_resnet", "tune": "top:1", "feature_noise": 0.03}),
    "pictures, own vectors": (
        "PixelSASRec",
        {**STEPS, "encoder": "test_resnet", "tune": "frozen", "own_vectors": True},
    ),
}
DEATHS = [
    (PixelTrainer, "_train_step", 4),  # behind the gradient of the 4th batch
    (Resumable, "_full_sort_batch_eval", 1),
    (PixelTrainer, "_train_rest", 1, True),  # between two epochs
    (PixelTrainer, "_train_step", 1),
]


@pytest.fixture
def world(tmp_path, settings) -> dict[str, Any]:
    write_inter(tmp_path, "w", random_rows(0))
    return settings


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_was_killed_comes_to_the_end_of_one_that_was_not(tmp_path, world, case):
    """It dies within its first epoch, within a validation, between two epochs, and within its last."""
    model, own = CASES[case]
    name = "w" if "item_tower" in own else colour_world(tmp_path, n_users=20, n_items=16, length=8)
    settings = {**world, **own}
    whole = run(model, name, settings={**settings, "checkpoint_dir": str(tmp_path / "whole")})
    for number, death in enumerate(DEATHS):
        killed_run(model, name, settings, death, resume=number > 0)
    assert_same(ends(run(model, name, settings=settings, resume=True)), ends(whole))


@pytest.mark.parametrize("model", ["SASRec", "BPR", "MultiVAE"])
def test_recboles_models_go_on_from_their_last_epoch(tmp_path, world, model):
    """MultiVAE counts its steps in an attribute, by which a weight of its loss rises."""
    settings = {**world, "epochs": 3, "hidden_dropout_prob": 0.3, "train_batch_size": 60, "metric_decimal_place": 7}
    settings |= {"total_anneal_steps": 50, "anneal_cap": 1.0}
    whole = run(model, "w", settings={**settings, "checkpoint_dir": str(tmp_path / "whole")})
    killed_run(model, "w", settings, (Resumable, "_full_sort_batch_eval", 2, True))
    killed_run(model, "w", settings, (Resumable, "_train_rest", 1, True), resume=True)
    assert_same(ends(run(model, "w", settings=settings, resume=True)), ends(whole))


@pytest.mark.parametrize("model", ["Pop", "NCL"])
def test_models_that_keep_no_states_say_so(world, model):
    with pytest.raises(SettingError, match=f"{model} keeps no states to go on from; models with an item tower"):
        run(model, "w", settings=world, resume=True)


def test_what_a_run_started_from_is_needed_no_more(tmp_path, world, monkeypatch):
    """Weights of another run, which a frozen trunk was built with; and features are not standardised anew."""
    name = colour_world(tmp_path, n_users=12, n_items=12, length=6)
    settings = {**world, **STEPS, "encoder": "test_resnet", "tune": "top:1", "epochs": 2, "metric_decimal_place": 7}
    first = run("PixelSASRec", name, settings={**settings, "seed": 5, "epochs": 1})
    settings |= {"pretrained": first["checkpoint"], "checkpoint_dir": str(tmp_path / "second")}
    whole = run("PixelSASRec", name, settings={**settings, "checkpoint_dir": str(tmp_path / "whole")})
    killed_run("PixelSASRec", name, settings, (PixelTrainer, "_train_step", 3))
    Path(first["checkpoint"]).unlink()
    monkeypatch.setattr(ItemTower, "fit_standardising", lambda tower: pytest.fail("fitted anew"))
    resumed = run("PixelSASRec", name, settings=settings, resume=True)
    assert resumed["pretrained"]["loaded"]
    assert_same(ends(resumed), ends(whole))


@pytest.mark.parametrize("own", [{"loss_type": "BPR"}, {"loss_type": "CE", "extra_candidates": 3}, {}])
def test_batches_that_are_passed_over_are_planned_and_nothing_is_made_of_them(world, build, monkeypatch, own):
    settings = {**world, "item_tower": "id", "train_batch_size": 4, **own}
    loader = build("w", settings)[2][0]
    loader.start_at(1)
    whole = list(loader)
    made = []
    make = PixelTrainDataLoader._batch
    monkeypatch.setattr(PixelTrainDataLoader, "_batch", lambda *args: made.append(1) or make(*args))
    loader.start_at(1, 5)
    rest = list(loader)
    assert len(made) == len(rest) == len(whole) - 5 > 0
    for one, other in zip(rest, whole[5:], strict=True):
        assert all(one[field].equal(other[field]) for field in other.columns)
    assert loader.epoch == 2
    assert len(list(loader)) == len(whole), "the epoch behind it is whole again"

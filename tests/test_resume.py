"""A run that was killed and gone on with is the run that was not: to the last bit of its weights and its metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from worlds import colour_world, random_rows, write_inter

from recbole_pixel.checkpoint import read_checkpoint
from recbole_pixel.kept_states import KeptStates, states_in
from recbole_pixel.quick_start import run
from recbole_pixel.resumable import Resumable
from recbole_pixel.trainer import PixelTrainer

STEPS: dict[str, Any] = {
    "checkpoint_steps": 2,
    "epochs": 3,
    "hidden_dropout_prob": 0.3,
    "metric_decimal_place": 7,
    "train_batch_size": 4,
}
ID = {"item_tower": "id", **STEPS}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "ids, all items ranked": ("PixelSASRec", {**ID, "lr_schedule": "cosine", "warmup_steps": 3}),
    "ids, drawn items and accumulated": (
        "PixelSASRec",
        {
            **ID,
            "extra_candidates": 5,
            "accumulate_steps": 2,
            "checkpoint_steps": 1,
            "clip_grad_norm": {"max_norm": 1.0},
        },
    ),
    "prefix rows, BPR": ("PixelSASRec", {**ID, "train_rows": "prefix", "loss_type": "BPR", "train_batch_size": 40}),
    "masked rows": ("PixelBERT4Rec", {**ID, "masked_copies": 1}),
    "pairs": ("PixelMF", {"item_tower": "id", "loss_type": "BPR", **STEPS, "train_batch_size": 60}),
    "pictures": (
        "PixelSASRec",
        {**STEPS, "tune": "top:1", "feature_noise": 0.03, "batch_norm": "train", "encoder": "test_resnet"},
    ),
}


class Killed(BaseException):
    """Stands for kill -9: nothing may catch it."""


@pytest.fixture
def world(tmp_path, settings) -> dict[str, Any]:
    write_inter(tmp_path, "w", random_rows(0))
    return settings


def killing(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, at: int, before: bool = False) -> None:
    """Lets the ``at``-th call of a method, from 1, end in death."""
    method, calls = getattr(owner, name), iter(range(1, 10_000))

    def deadly(*args: Any, **kwargs: Any) -> Any:
        dies = next(calls) == at
        if dies and before:
            raise Killed
        found = method(*args, **kwargs)
        if dies:
            raise Killed
        return found

    monkeypatch.setattr(owner, name, deadly)


def ends(result: dict[str, Any]) -> dict[str, Any]:
    """What a run comes to."""
    best = Path(result["checkpoint"])
    last = read_checkpoint(states_in(best.with_suffix(".run"))[0])
    cost = ("seconds", "seconds_per_epoch", "checkpoint")
    return {
        "result": {key: value for key, value in result.items() if key not in cost},
        "best": read_checkpoint(best)["state_dict"],
        "last": last["state_dict"],
        "moments": last["optimizer"]["state"],
        "rates": [group["lr"] for group in last["optimizer"]["param_groups"]],
    }


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from flat(entry, f"{path}/{key}")
    else:
        yield path, value


def assert_same(one: Any, other: Any) -> None:
    one, other = dict(flat(one)), dict(flat(other))
    assert one.keys() == other.keys()
    for path, value in one.items():
        same = torch.equal(value, other[path]) if isinstance(value, torch.Tensor) else value == other[path]
        assert same, f"{path}: {value} and {other[path]}"


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_was_killed_comes_to_the_end_of_one_that_was_not(tmp_path, world, monkeypatch, case):
    """Within its first epoch, within a validation, between two epochs, and within its last."""
    model, own = CASES[case]
    name = colour_world(tmp_path, n_users=20, n_items=16, length=8) if own.get("item_tower") != "id" else "w"
    settings = {**world, **own}
    whole = run(model, name, settings={**settings, "checkpoint_dir": str(tmp_path / "whole")})
    deaths = [
        (PixelTrainer, "_train_step", 4, False),
        (Resumable, "_full_sort_batch_eval", 1, False),
        (PixelTrainer, "_train_rest", 2, True),
        (PixelTrainer, "_train_step", 1, False),
    ]
    for number, (owner, method, at, before) in enumerate(deaths):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            killing(patch, owner, method, at, before)
            run(model, name, settings=settings, resume=number > 0)
    assert_same(ends(run(model, name, settings=settings, resume=True)), ends(whole))

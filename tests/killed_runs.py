"""Runs that die at a chosen place, and what runs come to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_pixel.checkpoint import read_checkpoint
from recbole_pixel.kept_states import states_in
from recbole_pixel.quick_start import run

COST = ("seconds", "seconds_per_epoch", "checkpoint")


class Killed(BaseException):
    """Stands for kill -9: nothing in a run catches it."""


def dying(patch: pytest.MonkeyPatch, owner: Any, name: str, at: int, before: bool = False) -> None:
    """Lets the ``at``-th call of a method, from 1, end in death; ``before`` it does anything, or behind it."""
    method, calls = getattr(owner, name), iter(range(1, 10_000))

    def deadly(*args: Any, **kwargs: Any) -> Any:
        dies = next(calls) == at
        if dies and before:
            raise Killed
        found = method(*args, **kwargs)
        if dies:
            raise Killed
        return found

    patch.setattr(owner, name, deadly)


def killed_run(model: str, dataset: str, settings: dict[str, Any], death: tuple[Any, ...], resume: Any = False) -> None:
    """A run that must die of ``death``, the arguments of :func:`dying` behind its first."""
    with pytest.MonkeyPatch.context() as patch:
        dying(patch, *death)
        with pytest.raises(Killed):
            run(model, dataset, settings=settings, resume=resume)


_whole: dict[Any, dict[str, Any]] = {}


def undisturbed(model: str, settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What a run on ``w`` comes to that nobody disturbs; made once for each model and its settings."""
    apart = ("data_path", "checkpoint_dir")
    key = model, repr(sorted((key, value) for key, value in settings.items() if key not in apart))
    if key not in _whole:
        _whole[key] = ends(run(model, "w", settings={**settings, "checkpoint_dir": str(folder / "whole")}))
    return _whole[key]


def run_folder(checkpoint_dir: Path) -> Path:
    """The one folder with states."""
    (folder,) = checkpoint_dir.glob("*.run")
    return folder


def ends(result: dict[str, Any]) -> dict[str, Any]:
    """What a run comes to: its result but for what it cost, weights of its best and its last epoch, moments, rates."""
    best = Path(result["checkpoint"])
    last = read_checkpoint(states_in(best.with_suffix(".run"))[0])
    return {
        "result": {key: value for key, value in result.items() if key not in COST},
        "best": _arrays(torch.load(best)["state_dict"]),
        "last": _arrays(last["state_dict"]),
        "moments": _arrays(last["optimizer"]["state"]),
        "rates": [group["lr"] for group in last["optimizer"]["param_groups"]],
    }


def _arrays(tensors: dict[Any, Any]) -> dict[str, np.ndarray]:
    return {path: np.asarray(value) for path, value in _flat(tensors)}


def assert_same(one: Any, other: Any) -> None:
    """Equality of :func:`ends`, to the last bit."""
    one, other = dict(_flat(one)), dict(_flat(other))
    assert one.keys() == other.keys()
    for path, value in one.items():
        assert np.array_equal(value, other[path]), f"{path}: {value} and {other[path]}"


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from _flat(entry, f"{path}/{key}")
    else:
        yield path, value

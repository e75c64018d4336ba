"""Checkpoints of many models on one world, each made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from served_world import CASES, NAME, SMALL, save_untrained, served_world

from recbole_pixel import load
from recbole_pixel.serve.recommender import Recommender


class Saved(NamedTuple):
    """A checkpoint, and what it was made of."""

    path: Path
    config: Any
    model: Any
    loaders: Any


@pytest.fixture(scope="session")
def served(tmp_path_factory) -> dict[str, Any]:
    """Settings that lead to the world."""
    return served_world(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def all_saved() -> dict[str, Saved]:
    return {}


@pytest.fixture
def saved(served, all_saved, build, settings) -> Callable[..., Saved]:
    """A function that makes the checkpoint of a case of :data:`CASES`, with further settings if there are any."""

    def made(case: str, **own: Any) -> Saved:
        key = f"{case} {own}"
        if key not in all_saved:
            model, tower = case.split(":")
            asked = {**settings, **SMALL, **served, "item_tower": tower, **CASES[case], **own}
            config, network, loaders = build(NAME, asked, model)
            path = Path(served["data_path"]) / "saved" / f"{len(all_saved)}.pth"
            all_saved[key] = Saved(save_untrained(path, config, network.eval()), config, network, loaders)
        return all_saved[key]

    return made


@pytest.fixture(scope="session")
def all_loaded() -> dict[str, Recommender]:
    return {}


@pytest.fixture
def recommender(saved, all_loaded) -> Callable[..., Recommender]:
    """A function that loads a case's checkpoint, once: ``history`` is an argument of ``load``, all else a setting."""

    def made(case: str, history: str = "all", **own: Any) -> Recommender:
        key = f"{case} {history} {own}"
        if key not in all_loaded:
            all_loaded[key] = load(saved(case, **own).path, history=history, device="cpu")
        return all_loaded[key]

    return made

"""Fixtures of models on the colour world, of those that read stored features, and of PixRec on the world of pairs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pair_world import pair_world, tiny_pixrec
from tiny_models import TINY, pictured_world
from visual_world import CASES, SMALL, shaken, visual_world


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> dict[str, Any]:
    """Settings that lead to the colour world."""
    return pictured_world(tmp_path_factory.mktemp("colour"))


@pytest.fixture
def tiny(settings, build, pictures) -> Callable[..., Any]:
    """A function that makes (config, model, loaders) of a model on the colour world; N is 65, like no other size."""

    def made(model: str, item_tower: str, **own: Any) -> Any:
        asked = {**settings, **TINY, **pictures, "item_tower": item_tower, "standardise_features": False, **own}
        return build("colour", asked, model)

    return made


@pytest.fixture(scope="module")
def visual_paths(tmp_path_factory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("visual")
    return {"data_path": str(folder), **visual_world(folder)}


@pytest.fixture
def small(settings, visual_paths) -> Callable[..., Any]:
    """A function that gives (model, settings) of a case."""

    def made(case: str, **own: Any) -> tuple[str, dict[str, Any]]:
        asked = {
            key: value for key, value in settings.items() if not key.startswith(("encoder", "tune", "train_batch"))
        }
        asked |= {**SMALL, "data_path": visual_paths["data_path"], **CASES[case]}
        if "features" in asked:
            asked["features"] = visual_paths[asked["features"]]
        return case.partition("-")[0], {**asked, **own}

    return made


@pytest.fixture
def visual(small, build) -> Callable[..., Any]:
    """A function that makes (model, loaders) of a case, its features' scale fitted and its parameters shaken."""

    def made(case: str, **own: Any) -> Any:
        name, asked = small(case, **own)
        _, model, loaders = build("colour", asked, name)
        model.item_embedding.fit_standardising()
        return shaken(model), loaders

    return made


@pytest.fixture(scope="session")
def pair_folder(tmp_path_factory) -> Path:
    """The folder of two worlds of pairs, and of the tiny models that read them."""
    root = tmp_path_factory.mktemp("pairs")
    pair_world(root)
    pair_world(root, "others", n_users=20, length=5)
    return root


@pytest.fixture
def pixrec_settings(pair_folder, settings) -> Callable[..., dict[str, Any]]:
    """A function that gives the settings of a PixRec on a tiny model of a family."""

    def asked(family: str = "smolvlm", **own: Any) -> dict[str, Any]:
        kept = {key: settings[key] for key in ("show_progress", "state", "seed", "checkpoint_dir")}
        return {**kept, "data_path": str(pair_folder), **tiny_pixrec(pair_folder, family), **own}

    return asked


@pytest.fixture
def pixrec(pixrec_settings, build) -> Callable[..., Any]:
    """A function that makes (config, model, loaders) of such a PixRec."""

    def made(family: str = "smolvlm", **own: Any) -> Any:
        return build("pairs", pixrec_settings(family, **own), "PixRec")

    return made

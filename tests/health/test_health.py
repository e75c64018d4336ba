"""Faults of a training run: each is told once, with the remedy; a healthy run is told nothing of."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recbole.utils import get_trainer
from torch import nn
from worlds import colour_cover, colour_world, write_pictures

from recbole_pixel.health.notes import Notes
from recbole_pixel.quick_start import run
from recbole_pixel.store import ArrayStoreWriter

LONG = {"train_batch_size": 4, "epochs": 8, "learning_rate": 0.01, "encoder_learning_rate": 0.01}
"""120 steps and 8 validations of the colour world: what is said after a hundred steps is said."""


@pytest.fixture(scope="module")
def colours(tmp_path_factory) -> dict[str, Any]:
    """Settings that lead to the colour world and to vectors of its items: their mean colour and some noise."""
    folder = tmp_path_factory.mktemp("colours")
    name = colour_world(folder)
    rng = np.random.default_rng(0)
    tokens = [f"i{item}" for item in range(60)] + ["r_new", "b_new"]
    is_red = np.array([token == "r_new" or (token[0] == "i" and int(token[1:]) % 2 == 0) for token in tokens])
    arrays = rng.normal(size=(len(tokens), 8)).astype(np.float32)
    arrays[:, 0] += 4 * is_red
    return {"data_path": str(folder), "dataset": name, "features": write_features(folder / "f.array", tokens, arrays)}


def write_features(path: Path, tokens: list[str], arrays: np.ndarray) -> str:
    with ArrayStoreWriter(path, tokens, arrays.shape[1:], arrays.dtype, {}) as writer:
        writer.write(0, arrays)
    return str(path)


@pytest.fixture
def trainer_of(settings, build, colours) -> Callable[..., Any]:
    """A function that makes (trainer, loaders) of a run on the colour world, of stored vectors by default."""

    def made(model: str = "PixelSASRec", change: Callable[[Any], None] | None = None, **own: Any) -> Any:
        asked = {**settings, **LONG, "data_path": colours["data_path"], "features": colours["features"]}
        asked = {**asked, "item_tower": "features", "embedding_size": 16, **own}
        config, network, loaders = build(colours["dataset"], asked, model)
        if change is not None:
            change(network)
        return get_trainer(config["MODEL_TYPE"], model)(config, network), loaders

    return made


@pytest.fixture
def noticed(trainer_of) -> Callable[..., dict[str, Any]]:
    """A function that trains, and gives the notes by their kind."""

    def made(*args: Any, **own: Any) -> dict[str, Any]:
        trainer, loaders = trainer_of(*args, **own)
        trainer.fit(loaders[0], loaders[1], saved=False, verbose=False)
        return trainer.notes.found

    return made


def warnings_of(found: dict[str, Any]) -> list[str]:
    return [kind for kind, note in found.items() if note.level == "warning"]


@pytest.mark.parametrize(
    ("model", "item_tower", "own"),
    [
        ("PixelSASRec", "features", {}),
        ("PixelSASRec", "id", {"loss_type": "BPR"}),
        ("PixelGRU4Rec", "features", {"loss_type": "BCE", "projection_activation": "relu"}),
        ("PixelMF", "id", {"train_batch_size": 64}),
    ],
)
def test_nothing_is_said_of_a_healthy_run(noticed, model, item_tower, own):
    assert warnings_of(noticed(model, item_tower=item_tower, **own)) == []


@pytest.mark.parametrize("broken_at", [0, 7])
def test_a_loss_that_is_no_number_stops_at_its_step_before_it_breaks_the_weights(trainer_of, broken_at):
    trainer, loaders = trainer_of()
    calls, loss = iter(range(1000)), trainer.model.calculate_loss
    trainer.model.calculate_loss = lambda batch: loss(batch) * (torch.nan if next(calls) == broken_at else 1.0)
    with pytest.raises(FloatingPointError) as caught:
        trainer.fit(loaders[0], loaders[1], saved=False, verbose=False)
    assert f"the training loss is nan at step {broken_at}, epoch 0: all weights" in str(caught.value)
    assert "lower learning_rate or encoder_learning_rate" in str(caught.value)
    assert all(torch.isfinite(parameter).all() for parameter in trainer.model.parameters())


def test_of_a_gradient_that_is_no_number_the_parameter_is_named(trainer_of):
    trainer, loaders = trainer_of()
    weight = trainer.model.item_embedding.projection.weight
    calls = iter(range(1000))
    weight.register_hook(lambda gradient: gradient * (torch.inf if next(calls) == 5 else 1.0))
    with pytest.raises(FloatingPointError, match=r"nan at step 6, .* weights of item_embedding.projection.weight"):
        trainer.fit(loaders[0], loaders[1], saved=False, verbose=False)


def test_features_that_are_no_numbers_are_named_by_their_item(trainer_of, colours, tmp_path):
    from recbole_pixel.store import ArrayStore

    store = ArrayStore(colours["features"])
    arrays = store.gather(np.arange(len(store)))
    arrays[store.tokens.index("i7"), 3] = np.nan
    broken = write_features(tmp_path / "broken.array", store.tokens, arrays)
    trainer, loaders = trainer_of(features=broken, standardise_features=False)
    with pytest.raises(FloatingPointError, match="features of items hold numbers that are not finite: i7; make them"):
        trainer.fit(loaders[0], loaders[1], saved=False, verbose=False)


def test_an_accelerators_loss_is_looked_at_where_the_trainer_waits_and_the_step_is_right(trainer_of, monkeypatch):
    """As on a device whose losses are read some steps later: the first of them is the one that is told."""
    monkeypatch.setattr("recbole_pixel.health.watching.world_size", lambda: 2)
    trainer, loaders = trainer_of()
    calls, loss = iter(range(1000)), trainer.model.calculate_loss
    trainer.model.calculate_loss = lambda batch: loss(batch) * (torch.nan if next(calls) >= 9 else 1.0)
    with pytest.raises(FloatingPointError, match=r"nan at step 9, epoch 0: not finite are the weights of"):
        trainer.fit(loaders[0], loaders[1], saved=False, verbose=False)


def test_an_encoder_that_is_cut_off_gets_no_gradient(noticed, colours):
    def cut(model: Any) -> None:
        head = model.item_embedding.encoder.head
        model.item_embedding.encoder.head = lambda arrays: head(arrays).detach()

    own = {"item_tower": "image", "encoder": "test_resnet", "train_batch_size": 16, "epochs": 3}
    note = noticed(change=cut, **own)["no_gradient"]
    assert "100% of the parameters of the encoder" in note.message
    assert "detach()" in note.message
    assert "no_gradient" not in noticed(**own)


def test_rates_that_are_far_too_small_or_too_large_are_told(noticed):
    own = {"weight_decay": 0.0, "extra_candidates": "all", "epochs": 11}
    found = noticed(learning_rate=1e-9, encoder_learning_rate=1e-9, **own)
    assert {"weights_stand_still", "loss_is_constant"} <= set(found)
    assert found["weights_stand_still"].step >= 100
    found = noticed(learning_rate=30.0, encoder_learning_rate=30.0, epochs=11)
    assert {"weights_jump", "loss_explodes"} & set(found)
    assert "Lower" in next(iter(found.values())).message


def test_items_that_all_look_alike_are_told(noticed):
    def collapse(model: Any) -> None:
        nn.init.zeros_(model.item_embedding.projection.weight).requires_grad_(False)
        nn.init.ones_(model.item_embedding.projection.bias)

    note = noticed(change=collapse, epochs=3)["vectors_collapsed"]
    assert note.epoch == 1, "the second validation"
    assert "mean cosine of 1.00000" in note.message


def test_dead_units_are_told(noticed):
    def kill(model: Any) -> None:
        nn.init.constant_(model.item_embedding.projection.bias[:12], -100.0)

    note = noticed(change=kill, epochs=2, projection_activation="relu")["dead_units"]
    assert "75% of the dimensions" in note.message
    assert "projection_activation: none" in note.message


def test_a_placeholder_and_missing_pictures_are_told(tmp_path, settings, colours, caplog):
    from shutil import copytree

    copytree(Path(colours["data_path"]) / "colour", tmp_path / "colour")
    rng = np.random.default_rng(0)
    one = colour_cover(rng, True)
    few = {f"i{item}": one if item < 12 else colour_cover(rng, True) for item in range(20)}
    write_pictures(tmp_path, "colour", few)
    own = {"epochs": 1, "missing_image": "mean", "encoder": "test_resnet"}
    with caplog.at_level(logging.WARNING):
        result = run("PixelSASRec", "colour", settings={**settings, **own, "result_file": str(tmp_path / "r.json")})
    told = {note["kind"]: note for note in result["warnings"]}
    assert list(told) == ["pictures_missing", "pictures_shared"]
    assert "42 of 62 items have no pictures" in told["pictures_missing"]["message"]
    shared = told["pictures_shared"]["message"]
    assert int(re.match(r"12 of 20 items have one and the same picture, e.g. i(\d+), ", shared)[1]) < 12
    assert json.loads((tmp_path / "r.json").read_text())["warnings"] == result["warnings"]
    assert [record.message for record in caplog.records if "[pictures_shared]" in record.message], "in the log"


def test_numbers_are_the_same_with_and_without_it(settings, colours):
    """Dropout, negatives and the order of the rows are drawn: nothing that looks may draw."""
    asked = {**settings, **LONG, **{key: colours[key] for key in ("data_path", "features")}, "item_tower": "features"}
    asked |= {"loss_type": "BPR", "hidden_dropout_prob": 0.3, "epochs": 10, "feature_noise": 0.1}
    results = [run("PixelSASRec", colours["dataset"], settings={**asked, "health": health}) for health in (True, False)]
    assert results[0]["curves"] == results[1]["curves"]
    assert len(results[0]["curves"]["valid"]) == 10, "popularity was looked at, too"
    assert results[0]["test"] == results[1]["test"]
    assert results[1]["warnings"] == []
    assert [note["kind"] for note in results[0]["warnings"] if note["level"] == "warning"] == []


def test_each_thing_is_told_once_and_what_no_longer_holds_is_taken_back(caplog):
    notes = Notes()
    with caplog.at_level(logging.INFO):
        notes.tell("a", "first", step=3)
        notes.tell("a", "second")
        notes.tell("b", "more could be had", level="hint")
        notes.withdraw("a")
    assert [record.getMessage() for record in caplog.records] == [
        "first [a]", "more could be had [b]", "[a] no longer holds",
    ]  # fmt: skip
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "INFO"]
    assert notes.plain() == [{"kind": "b", "level": "hint", "epoch": 0, "step": None, "message": "more could be had"}]

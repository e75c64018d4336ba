"""Starting from another run's weights: what is carried over, what stays, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recbole.quick_start import load_data_and_model
from recbole.utils import get_trainer
from test_worlds import COLOUR, share_of_taste, trained
from worlds import colour_world

from recbole_pixel import load
from recbole_pixel.entity_rows import rows_of_entities
from recbole_pixel.fitting_transfer import taught
from recbole_pixel.pretrained import Pretrained, load_pretrained, shared_name
from recbole_pixel.quick_start import run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two worlds of other users and other covers, one taste."""
    path = tmp_path_factory.mktemp("worlds")
    colour_world(path, "first")
    colour_world(path, "second", n_users=40, n_items=44, length=8)
    return path


@pytest.fixture
def asked(settings, folder) -> dict[str, Any]:
    return {**settings, **COLOUR, "encoder": "resnet18", "transfer": "all", "data_path": str(folder)}


@pytest.fixture
def checkpoint(asked, build, folder) -> str:
    """Of a model that has learnt the first world's taste: one for all tests, as none of them writes to it."""
    path = folder / "first.pth"
    if not path.exists():
        _, _, trainer = trained(build, "first", asked, lambda model, dataset: share_of_taste(model, dataset) > 0.97)
        trainer._write(0, str(path), verbose=False)
    return str(path)


def started(build: Any, name: str, settings: dict[str, Any], model: str = "PixelSASRec") -> Any:
    """(model, loader of its training rows, trainer) before the first step."""
    config, network, loaders = build(name, settings, model)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, network)
    return network, loaders[0], trainer


def test_a_taste_for_covers_is_carried_to_other_users_and_other_covers(asked, build, checkpoint):
    """Without a step of training: the covers and the users of the second world are new to the model."""
    model, rows, trainer = started(build, "second", {**asked, "pretrained": checkpoint, "epochs": 0})
    trainer.fit(rows, None, saved=False)
    assert share_of_taste(model.eval(), rows._dataset) > 0.9
    assert {name for name in model.state_dict() if name not in trainer.pretrained.loaded} == set()


def test_the_optimiser_starts_from_the_loaded_weights(asked, build, checkpoint):
    model, _, trainer = started(build, "second", {**asked, "pretrained": checkpoint})
    given = Pretrained.read(checkpoint).weights["recommender/position_embedding.weight"]
    stepped = {id(parameter) for group in trainer.optimizer.param_groups for parameter in group["params"]}
    assert torch.equal(model.position_embedding.weight, given)
    assert id(model.position_embedding.weight) in stepped


@pytest.mark.parametrize(
    ("transfer", "moved", "kept"),
    [
        ("encoder", ["encoder"], ["projection", "standardising", "position_embedding", "trm_encoder"]),
        ("item_tower", ["encoder", "projection", "standardising"], ["position_embedding", "trm_encoder"]),
    ],
)
def test_a_part_is_loaded_and_the_rest_starts_anew(asked, build, checkpoint, transfer, moved, kept):
    fresh, *_ = started(build, "second", asked)
    model, _, trainer = started(build, "second", {**asked, "pretrained": checkpoint, "transfer": transfer})
    given, table = torch.load(checkpoint, weights_only=True)["state_dict"], "item_embedding."
    for name, value in model.state_dict().items():
        part = name.removeprefix(table).split(".")[0]
        assert part in moved or torch.equal(value, fresh.state_dict()[name])
        if part in moved:
            assert torch.equal(value, given[name])
    said = str(trainer.pretrained)
    assert f"not loaded, transfer is {transfer}: " in said
    assert all(any(part in name for name in trainer.pretrained.left) for part in kept)


@pytest.mark.parametrize(
    ("own", "loads"),
    [
        ({}, "encoder"),
        ({"epochs": 0}, "all"),
        ({"tune": "frozen", "batch_norm": "frozen"}, "all"),
        ({"dataset": "first"}, "all"),
    ],
)
def test_by_itself_an_encoder_that_learns_on_goes_alone_to_other_items(asked, build, checkpoint, own, loads):
    name = own.get("dataset", "second")
    _, _, trainer = started(build, name, {**asked, "pretrained": checkpoint, "transfer": "auto", **own})
    assert any("position_embedding" in name for name in trainer.pretrained.loaded) == (loads == "all")
    assert any("encoder" in name for name in trainer.pretrained.loaded)


def test_by_itself_all_of_a_run_whose_encoder_was_frozen_is_taken(asked, build, tmp_path):
    frozen = {**asked, "tune": "frozen", "batch_norm": "frozen", "epochs": 1}
    checkpoint = run("PixelSASRec", "first", settings=frozen)["checkpoint"]
    assert not taught(Pretrained.read(checkpoint))
    _, _, trainer = started(build, "second", {**frozen, "pretrained": checkpoint, "transfer": "auto", "tune": "top:1"})
    assert any("position_embedding" in name for name in trainer.pretrained.loaded)


@pytest.mark.parametrize(("transfer", "stays"), [("encoder", False), ("item_tower", True)])
def test_the_scale_of_features_stays_with_the_projection_that_was_taught_behind_it(
    asked, build, checkpoint, transfer, stays
):
    own = {**asked, "pretrained": checkpoint, "transfer": transfer, "epochs": 0}
    model, rows, trainer = started(build, "second", own)
    trainer.fit(rows, None, saved=False)
    given = torch.load(checkpoint, weights_only=True)["state_dict"]["item_embedding.standardising.center"]
    assert torch.equal(model.item_tower.standardising.center, given) == stays


def test_what_a_frozen_trunk_is_kept_of_is_made_with_the_loaded_weights(asked, build, checkpoint):
    """The first run learnt all of the encoder; here its trunk is frozen, and what it makes of items is cached."""
    own = {**asked, "pretrained": checkpoint, "tune": "top:1", "batch_norm": "frozen", "precision": "float32"}
    cached, *_ = started(build, "second", own)
    direct, *_ = started(build, "second", {**own, "trunk_cache": "off"})
    anew, *_ = started(build, "second", {**own, "pretrained": None})
    assert cached.item_tower.inputs.from_trunk
    assert not direct.item_tower.inputs.from_trunk
    vectors = [model.eval().item_tower.candidates() for model in (cached, direct, anew)]
    torch.testing.assert_close(vectors[0], vectors[1], rtol=1e-4, atol=1e-5)
    assert (vectors[0] - vectors[2]).abs().max() > 1e-3


def test_an_encoder_goes_to_a_model_of_another_class_and_rows_of_users_stay(asked, build, checkpoint):
    model, _, trainer = started(build, "second", {**asked, "pretrained": checkpoint, "embedding_size": 16}, "PixelMF")
    given = Pretrained.read(checkpoint).weights
    assert torch.equal(model.item_tower.projection.weight, given["parts/image/projection.weight"])
    assert trainer.pretrained.left == {"user_embedding.weight": "it has a row for each user"}
    assert "recommender/position_embedding.weight" in trainer.pretrained.unused


@pytest.mark.parametrize(("tune", "trunk_cache"), [("top:1", "auto"), ("frozen", "auto"), ("top:1", "off")])
def test_a_run_that_started_from_another_is_served_with_its_own_weights(asked, checkpoint, tune, trunk_cache):
    """The first run learnt all of the encoder; what is served must not be what the encoder was before."""
    own = {"pretrained": checkpoint, "tune": tune, "trunk_cache": trunk_cache, "batch_norm": "frozen", "epochs": 1}
    told: list[Any] = []
    result = run(
        "PixelSASRec",
        "second",
        settings={**asked, **own, "precision": "float32"},
        then=lambda _, trained: told.append(trained),
    )
    expected = told[0].model.eval().item_tower.candidates()[1:].numpy()
    Path(checkpoint).unlink()  # nobody needs it any more
    np.testing.assert_allclose(load(result["checkpoint"]).item_vectors(), expected, rtol=1e-4, atol=1e-5)
    _, model, *_ = load_data_and_model(result["checkpoint"])
    np.testing.assert_allclose(model.eval().item_tower.candidates()[1:].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_a_projection_of_another_width_takes_its_scale_along(asked, build, checkpoint):
    """Fitted to other features, the scale would hold back what the new projection learns."""
    model, rows, trainer = started(build, "second", {**asked, "pretrained": checkpoint, "hidden_size": 8, "epochs": 0})
    trainer.fit(rows, None, saved=False)
    given = Pretrained.read(checkpoint).weights["parts/image/standardising.center"]
    assert not torch.equal(model.item_tower.standardising.center, given)
    left = trainer.pretrained.left
    assert "its shape is" in left["item_embedding.projection.weight"]
    assert left["item_embedding.standardising.center"] == (
        "the projection or the scale of features that belongs to it does not fit"
    )


def test_an_encoder_learnt_beside_another_base_is_refused():
    class Reader(torch.nn.Module):
        def __init__(self, mark: int) -> None:
            super().__init__()
            self.item_embedding = torch.nn.ModuleDict({"encoder": torch.nn.Linear(2, 2)})
            self.item_embedding["encoder"].register_buffer("base_mark", torch.full((4,), mark, dtype=torch.uint8))

    weights = {shared_name(name, "item_embedding", "vlm"): value for name, value in Reader(1).state_dict().items()}
    given = Pretrained(Path("a.pth"), "Reader", {"vlm": "A"}, weights)
    with pytest.raises(ValueError, match=r"a\.pth was learnt beside another base than vlm names here .there 'A'"):
        load_pretrained(Reader(2), "item_embedding", "vlm", given, "all")
    same = Reader(1)
    assert load_pretrained(same, "item_embedding", "vlm", given, "all").loaded == [
        "item_embedding.encoder.weight",
        "item_embedding.encoder.bias",
    ]


def test_what_an_encoder_learnt_is_not_left_behind_when_its_projection_comes(asked, build):
    class Frozen(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.item_embedding = torch.nn.ModuleDict({"projection": torch.nn.Linear(2, 2)})

    weights = {"parts/vlm/projection.weight": torch.zeros(2, 2), "parts/vlm/projection.bias": torch.zeros(2)}
    given = Pretrained(Path("a.pth"), "Frozen", {}, {**weights, "encoder/vlm/lora_A.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"1 of 1 tensors that the vlm encoder in a\.pth learnt have no place here"):
        load_pretrained(Frozen(), "item_embedding", "vlm", given, "all")


def test_rows_of_users_are_never_carried_over_even_if_there_are_as_many(asked, build, tmp_path):
    own = {**asked, "epochs": 0}
    _, _, trainer = started(build, "first", own, "PixelMF")
    path = str(tmp_path / "mf.pth")
    trainer._write(0, path, verbose=False)
    _, _, again = started(build, "first", {**own, "pretrained": path, "seed": 2}, "PixelMF")
    assert again.pretrained.left == {"user_embedding.weight": "it has a row for each user"}


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings that lead to a world of 49 users and the padding."""
    path = tmp_path_factory.mktemp("few")
    colour_world(path, "few", n_users=47, n_items=16, length=6)
    return {"data_path": str(path), "epochs": 0}


@pytest.mark.parametrize("longest", [50, 49])
@pytest.mark.parametrize("model", ["PixelSASRec", "PixelBERT4Rec", "PixelLightSANs"])
def test_positions_are_carried_over_though_there_are_as_many_users(asked, few, build, tmp_path, model, longest):
    own = {**asked, **few, "MAX_ITEM_LIST_LENGTH": longest}
    first, rows, trainer = started(build, "few", own, model)
    trainer.fit(rows, None, saved=False)
    assert first.user_count == 50
    assert trainer.rows == {}, "a digest of users would tie the checkpoint to them"
    path = str(tmp_path / "few.pth")
    trainer._write(0, path, verbose=False)
    again, _, other = started(build, "few", {**own, "pretrained": path, "seed": 2}, model)
    assert other.pretrained.left == {}
    assert torch.equal(again.position_embedding.weight, first.position_embedding.weight)


@pytest.mark.parametrize(("model", "table"), [("PixelMF", "user_embedding"), ("VBPR", "user_embedding")])
def test_a_table_of_users_is_known_whatever_its_size(asked, few, build, model, table):
    own = {**asked, **few, "embedding_size": 16, "item_tower": "image", "MAX_ITEM_LIST_LENGTH": 50}
    network, rows, trainer = started(build, "few", own, model)
    trainer.fit(rows, None, saved=False)
    assert rows_of_entities(network)[f"{table}.weight"] == "user"
    assert "user_id" in trainer.rows


class Histories(torch.nn.Module):
    """A model of 49 users and the padding, with a table named ``name``."""

    def __init__(self, name: str, size: int = 50, **own: Any) -> None:
        super().__init__()
        self.user_count, self.max_seq_length = 50, 49
        vars(self).update(own)
        setattr(self, name, torch.nn.Embedding(size, 2))


def test_a_table_that_may_be_of_either_is_told_by_its_name_or_by_what_the_model_counts():
    assert rows_of_entities(Histories("place")) == {}
    assert rows_of_entities(Histories("user_table")) == {"user_table.weight": "user"}
    assert rows_of_entities(Histories("UI_emb", n_users=50)) == {"UI_emb.weight": "user"}
    assert rows_of_entities(Histories("taste", max_seq_length=20)) == {"taste.weight": "user"}
    assert rows_of_entities(Histories("taste", 60, max_seq_length=20)) == {}


def test_numbers_of_single_items_beside_the_tower_stay_too(asked, build, tmp_path):
    own = {**asked, "embedding_size": 16, "epochs": 0, "item_tower": "image"}
    _, _, trainer = started(build, "first", own, "VBPR")
    path = str(tmp_path / "vbpr.pth")
    trainer._write(0, path, verbose=False)
    model, _, again = started(build, "first", {**own, "pretrained": path, "seed": 2}, "VBPR")
    left = [name for name, reason in again.pretrained.left.items() if reason == "it has a row for each item"]
    assert {name.split(".")[0] for name in left} == set(model.id_parameters)
    assert not any(name.startswith(model.id_parameters) for name in again.pretrained.loaded)


def test_a_table_of_ids_has_nothing_to_give(asked, build, checkpoint):
    twin = {**asked, "item_tower": "id", "pretrained": checkpoint, "transfer": "item_tower"}
    with pytest.raises(
        ValueError, match=r"nothing of .*first\.pth .*item_embedding\.weight: it has a row for each item"
    ):
        started(build, "second", twin)


@pytest.mark.parametrize(
    ("name", "table", "kind", "shared"),
    [
        ("items.encoder.backbone.stem.weight", "items", "image", "encoder/image/backbone.stem.weight"),
        ("items.encoder.encoders.image.backbone.stem", "items", "image_text", "encoder/image/backbone.stem"),
        ("items.projection.bias", "items", "text", "parts/text/projection.bias"),
        ("items.encoder.parts.text.projection.bias", "items", "image_text", "parts/text/projection.bias"),
        ("items.encoder.fusion.gate.weight", "items", "image_text", "fusion/gate.weight"),
        ("items.weight", "items", "id", "rows/weight"),
        ("items.own.table.weight", "items", "image", "rows/own.table.weight"),
        ("items.learnt.weight", "items", "image", "recommender/item_tower.learnt.weight"),
        ("items_2.weight", "items", "id", "recommender/items_2.weight"),
    ],
)  # fmt: skip
def test_a_part_has_one_name_wherever_it_lies(name, table, kind, shared):
    assert shared_name(name, table, kind) == shared


def test_another_encoder_is_refused_by_name(asked, build, checkpoint):
    with pytest.raises(ValueError, match=r"the image encoder in .* is another one .there encoder is 'resnet18'"):
        started(build, "second", {**asked, "pretrained": checkpoint, "encoder": "resnet34"})


def test_files_that_are_no_checkpoint_of_ours_are_refused(asked, build, checkpoint, tmp_path):
    whole = Path(checkpoint).read_bytes()
    (tmp_path / "torn.pth").write_bytes(whole[: len(whole) // 2])
    torch.save({"state_dict": {}}, tmp_path / "other.pth")
    for name, error, said in (
        ("none.pth", FileNotFoundError, "names no file"),
        ("torn.pth", ValueError, "is torn, or no checkpoint"),
        ("other.pth", ValueError, "is no checkpoint of a model with an item tower"),
    ):
        with pytest.raises(error, match=said):
            started(build, "second", {**asked, "pretrained": str(tmp_path / name)})


def test_a_model_of_recboles_cannot_start_from_it(asked, checkpoint):
    with pytest.raises(ValueError, match=r"pretrained names a checkpoint .*; SASRec has none"):
        run("SASRec", "second", settings={**asked, "pretrained": checkpoint, "loss_type": "CE"})


def test_a_run_evaluates_another_runs_weights_as_they_are(asked, checkpoint):
    result = run("PixelSASRec", "second", settings={**asked, "pretrained": checkpoint, "epochs": 0})
    assert result["epochs"] == 0
    assert result["test"]["recall@10"] > 0.4, "22 of 44 covers have the user's colour: 10 / 22 by chance among them"

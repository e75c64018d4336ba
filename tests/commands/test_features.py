"""`features extract`, `import`, `quantize` and `show` as a user types them, and a model trained on what they make."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worlds import colour_world

from recbole_pixel.cli import main
from recbole_pixel.store import MEAN_TOKEN, ArrayStore

N_ITEMS = 22


@pytest.fixture
def world(tmp_path, monkeypatch) -> Path:
    """A data path with a dataset `colour`."""
    monkeypatch.chdir(tmp_path)
    colour_world(tmp_path, n_users=20, n_items=N_ITEMS - 2, length=8)
    return tmp_path


def run(*arguments: object) -> int:
    return main(["features", *map(str, arguments)])


def extract(world: Path, *options: object) -> int:
    fixed = ("--encoder", "resnet18", "--weights", "random", "--image_size", 32, "--dataset", "colour")
    return run("extract", *fixed, "--data_path", world, "--device", "cpu", "--quiet", *options)


def test_extract_quantize_show(world, capsys):
    folder = world / "colour" / "features"
    assert extract(world) == 0
    features = folder / "resnet18-pooled.array"
    assert f"{features}: written, {N_ITEMS} items and their mean, float32 of shape (512,)" in capsys.readouterr().out
    assert extract(world) == 0
    assert "up to date" in capsys.readouterr().out
    assert run("quantize", features, "--levels", 2, "--codes", 5, "--backend", "sklearn") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == ["level 1", "level 2", "collisions"]
    assert float(lines[0].split()[2]) > float(lines[1].split()[2])
    codes = folder / "resnet18-pooled-codes-2x5.array"
    store = ArrayStore(codes)
    found = store.gather(np.arange(len(store)))
    assert (found.dtype, found.shape, found.max()) == (np.int32, (N_ITEMS + 1, 2), 4)
    assert ArrayStore(folder / "resnet18-pooled-codes-2x5-codebooks.array").shape == (5, 512)
    assert run("show", codes) == 0
    shown = capsys.readouterr().out
    assert f"{N_ITEMS} items and their mean, e.g. b_new, i0" in shown
    assert "int32 of shape (2,)" in shown
    assert f'features: "{ArrayStore(features).fingerprint}"' in shown


def test_feature_maps_go_to_a_place_of_their_own(world):
    assert extract(world, "--shape", "spatial", "--layer", 1, "--dtype", "float16") == 0
    store = ArrayStore(world / "colour" / "features" / "resnet18-layer2-spatial.array")
    assert (store.shape, store.dtype) == ((16, 128), np.float16)
    assert (store.provenance["layer"], store.provenance["positions"]) == ("layer2", "kept")


def test_options_that_make_other_features_do_not_replace_what_is_there(world, capsys):
    assert extract(world) == 0
    assert extract(world, "--precision", "bf16") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert extract(world, "--precision", "bf16", "--out", world / "other.array") == 0
    assert extract(world, "--seed", 1, "--overwrite") == 0
    weights = [
        ArrayStore(world / p).provenance["weights"] for p in ("other.array", "colour/features/resnet18-pooled.array")
    ]
    assert weights[0] != weights[1]


def test_import_says_which_items_have_features(world, capsys):
    items = [f"i{item}" for item in range(N_ITEMS - 5)]
    np.save(world / "RN50.npy", np.arange(2 * len(items), dtype=np.float32).reshape(-1, 2))
    (world / "items.txt").write_text("\n".join(items))
    fixed = ("import", world / "RN50.npy", "--quiet")
    assert run(*fixed, "--tokens", world / "items.txt", "--dataset", "colour", "--data_path", world) == 0
    assert f"{len(items)} of {N_ITEMS} items of colour have features; without: " in capsys.readouterr().out
    store = ArrayStore(world / "colour" / "features" / "RN50.array")
    assert store.gather(store.positions(["i3", MEAN_TOKEN])).tolist() == [[6, 7], [len(items) - 1, len(items)]]
    assert run(*fixed, "--tokens", world / "items.txt") == 2
    assert "--dataset NAME" in capsys.readouterr().err
    csv = world / "Pixel.csv"
    csv.write_text("item_id,user_id,timestamp\n" + "".join(f"{item},u,1\n" for item in ["i5", *items[1:]]))
    assert run(*fixed, "--interactions", csv, "--out", world / "p.array") == 0
    assert ArrayStore(world / "p.array").provenance["format"] == "pixelrec"
    assert ArrayStore(world / "p.array").gather(np.array([0])).tolist() == [[2, 3]]  # i5, behind the padding


def test_a_model_trains_on_extracted_features(world, settings: dict[str, Any]):
    from recbole_pixel.quick_start import run as run_model

    assert extract(world) == 0
    features = world / "colour" / "features" / "resnet18-pooled.array"
    own = {"item_tower": "features", "features": str(features), "epochs": 1, "metrics": ["Recall"], "topk": [10]}
    own |= {"data_path": str(world), "valid_metric": "Recall@10"}
    result = run_model("PixelSASRec", "colour", settings={**settings, **own})
    assert result["item_tower"] == "features"
    assert result["pictures_per_epoch"] > 0
    assert 0 <= result["test"]["recall@10"] <= 1
    assert result["parameters"]["total"] < 100_000  # no encoder: eleven million


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quantize", "nosuch"], "no store at .*nosuch; make it with `recbole-pixel features extract`"),
        (["show", "log.csv"], "log.csv is not a store.*recbole-pixel features import"),
    ],
)
def test_what_is_no_store_of_features_says_what_makes_one(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("log.csv").write_text("epoch,loss\n")
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert "images build" not in error


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--image_size", -1, "image_size is -1; expected a side in pixels"),
        ("--device", "foo", "device is 'foo'; expected cpu"),
        ("--device", "cuda:99", "device is 'cuda:99'"),
        ("--batch", 0, "batch is 0; expected 1 or more"),
    ],
)
def test_options_that_cannot_be_are_told_in_one_line(world, capsys, option, value, message):
    assert extract(world, option, value) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (world / "colour" / "features").exists()


def test_directions_below_none_are_refused(world, capsys):
    assert extract(world) == 0
    features = world / "colour" / "features" / "resnet18-pooled.array"
    assert run("quantize", features, "--codes", 5, "--directions", -3) == 2
    assert "directions is -3; expected 0 (all) or more" in capsys.readouterr().err

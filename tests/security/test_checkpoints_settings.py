"""What the settings in somebody's checkpoint cannot make its reader do: write elsewhere, or ask for weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recbole.quick_start import load_data_and_model
from worlds import colour_world

import recbole_pixel
from recbole_pixel.checkpoint import read_checkpoint, write_checkpoint
from recbole_pixel.encoder import weights
from recbole_pixel.quick_start import run

OF_PICTURES = {"encoder": "test_resnet", "epochs": 1, "train_batch_size": 8}


@pytest.fixture
def checkpoint(tmp_path, settings) -> Path:
    """Of a model of pictures; their decoded ones and what a trunk made of them are not kept any more."""
    colour_world(tmp_path, n_users=12, n_items=12, length=6)
    own = {**settings, **OF_PICTURES, "tune": "top:1", "cache_dir": str(tmp_path / "of the run")}
    return Path(run("PixelSASRec", "colour", settings=own)["checkpoint"])


def saying(path: Path, **settings: Any) -> Path:
    """A copy of a checkpoint with other settings in it."""
    state = read_checkpoint(path)
    other = path.with_name("other.pth")
    write_checkpoint({**state, "config": {**state["config"], **settings}}, other)
    return other


def test_no_checkpoint_says_where_its_reader_writes(tmp_path, checkpoint):
    there = tmp_path / "elsewhere"
    named = {key: str(there / key) for key in ("cache_dir", "checkpoint_dir", "result_dir")}
    named |= {"result_file": str(there / "r.json"), "per_user": str(there / "each.npz")}
    other = saying(checkpoint, **named, log_wandb=True)
    recommender = recbole_pixel.load(other)
    assert list((tmp_path / "colour" / "cache").glob("trunk-*")), "beside the dataset"
    config = load_data_and_model(str(other))[0]
    kept = {key: config[key] for key in (*named, "log_wandb")}
    assert kept == {
        "cache_dir": None, "checkpoint_dir": "saved", "result_dir": "result", "result_file": None, "per_user": None,
        "log_wandb": False,
    }  # fmt: skip
    assert not there.exists()
    asked = recbole_pixel.load(other, settings={"cache_dir": str(tmp_path / "mine")})
    assert list((tmp_path / "mine").glob("trunk-*")), "who reads it says where"
    np.testing.assert_array_equal(asked.scores(), recommender.scores())


@pytest.mark.parametrize("named", ["hub", "package:none_such", "/no/such/file.safetensors"])
def test_weights_of_an_encoder_are_the_checkpoints_and_looked_for_nowhere(checkpoint, monkeypatch, named):
    monkeypatch.setattr(weights, "_from_hub", lambda *_: pytest.fail("the hub was asked"))
    wanted = recbole_pixel.load(checkpoint).scores()
    other = saying(checkpoint, encoder_weights=named, pretrained=True)
    np.testing.assert_allclose(recbole_pixel.load(other).scores(), wanted, atol=1e-5)
    load_data_and_model(str(saying(checkpoint, encoder_weights=named)))

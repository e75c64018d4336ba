"""A run goes on with the pictures, texts, features and targets that it began with; others are named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from killed_runs import killed_run, run_folder
from tiny_texts import save_text_model, word_world, write_items
from worlds import colour_cover, write_inter, write_pictures

from recbole_pixel.checkpoint import read_checkpoint, write_checkpoint
from recbole_pixel.kept_states import states_in
from recbole_pixel.quick_start import run
from recbole_pixel.resumable import Resumable
from recbole_pixel.store import ArrayStoreWriter

DEATH = (Resumable, "_full_sort_batch_eval", 1, True)  # behind the first epoch
TOKENS = [*(f"i{item}" for item in range(24)), "r_new", "b_new"]


def swapped_pictures(folder: Path) -> None:
    rng = np.random.default_rng(5)
    for path in (folder / "word" / "images.lmdb", folder / "word-pictures"):
        shutil.rmtree(path)
    write_pictures(folder, "word", {token: colour_cover(rng, place % 2 == 1) for place, token in enumerate(TOKENS)})


def swapped_titles(folder: Path) -> None:
    write_items(folder, "word", {"title:token_seq": {token: f"blue {token}" for token in TOKENS}})


def features(folder: Path, seed: int) -> Path:
    rows = np.random.default_rng(seed).normal(size=(len(TOKENS), 8)).astype(np.float32)
    shutil.rmtree(path := folder / "f.array", ignore_errors=True)
    with ArrayStoreWriter(path, TOKENS, (8,), np.dtype(np.float32), {}) as writer:
        writer.write(0, rows)
    return path


def swapped_features(folder: Path) -> None:
    features(folder, 1)


CASES: dict[str, tuple[Callable[[Path], None], str]] = {
    "image": (swapped_pictures, "pictures"),
    "text": (swapped_titles, "texts"),
    "image_text": (swapped_titles, "texts"),
    "features": (swapped_features, "features"),
}


@pytest.fixture
def of_words(tmp_path, settings) -> dict[str, Any]:
    """Settings of runs on items with titles, pictures and features."""
    word_world(tmp_path, n_users=12, n_items=24, length=6)
    made_of = {"features": str(features(tmp_path, 0)), "text_encoder": str(save_text_model(tmp_path / "bert"))}
    return {**settings, **made_of, "tune": "frozen", "text_length": 8, "epochs": 2}


@pytest.mark.parametrize("tower", CASES)
def test_other_pictures_texts_and_features_are_refused(tmp_path, of_words, tower):
    change, named = CASES[tower]
    settings = {**of_words, "item_tower": tower}
    killed_run("PixelSASRec", "word", settings, DEATH)
    change(tmp_path)
    with pytest.raises(ValueError, match=rf"trained on other {named} than word has here: .* start a new run without"):
        run("PixelSASRec", "word", settings=settings, resume=True)


def test_the_same_elsewhere_and_what_no_item_is_made_of_is_no_matter(tmp_path, of_words):
    settings = {**of_words, "item_tower": "image"}
    killed_run("PixelSASRec", "word", settings, DEATH)
    swapped_titles(tmp_path)
    swapped_features(tmp_path)
    shutil.move(tmp_path / "word" / "images.lmdb", tmp_path / "moved.lmdb")
    own = {**settings, "images": str(tmp_path / "moved.lmdb")}
    assert run("PixelSASRec", "word", settings=own, resume=True)["epochs"] == 2


def last_two_swapped(rows: list[tuple[str, str, float]]) -> list[tuple[str, str, float]]:
    """``rows`` in which the last two items of users but the first two, which are judged by, changed places."""
    by_user: dict[str, list[tuple[str, str, float]]] = {}
    for row in rows:
        by_user.setdefault(row[0], []).append(row)
    for own in list(by_user.values())[2:]:
        (user, one, early), (_, other, late) = own[-2:]
        own[-2:] = [(user, other, early), (user, one, late)]
    return [row for own in by_user.values() for row in own]


@pytest.fixture
def pairs(tmp_path, settings) -> tuple[dict[str, Any], list[tuple[str, str, float]]]:
    """Settings of runs of BPR, and interactions; the first two users' are of all items, which thus keep their ids."""
    rng = np.random.default_rng(0)
    rows = [("most" if item else "one", f"i{item}", float(item)) for item in range(30)]
    rows += [
        (f"u{user}", f"i{item}", float(time)) for user in range(20) for time, item in enumerate(rng.permutation(30)[:8])
    ]
    write_inter(tmp_path, "w", rows)
    return {**settings, "epochs": 2, "train_batch_size": 60}, rows


def test_other_targets_are_refused_where_the_training_interactions_are_the_same(tmp_path, pairs):
    settings, rows = pairs
    killed_run("BPR", "w", settings, DEATH)
    write_inter(tmp_path, "w", last_two_swapped(rows))
    with pytest.raises(ValueError, match="other validation interactions and test interactions than w has here"):
        run("BPR", "w", settings=settings, resume=True)
    write_inter(tmp_path, "w", rows)
    assert run("BPR", "w", settings=settings, resume=True)["epochs"] == 2


def test_states_that_say_nothing_of_them_go_on(tmp_path, pairs):
    """As versions before this one wrote them."""
    settings, rows = pairs
    killed_run("BPR", "w", settings, DEATH)
    (path,) = states_in(run_folder(tmp_path / "saved"))
    state = read_checkpoint(path)
    assert set(state["run"].pop("other_data")) == {"validation interactions", "test interactions"}
    write_checkpoint(state, path)
    assert "other_data" not in torch.load(path)["run"]
    write_inter(tmp_path, "w", last_two_swapped(rows))
    assert run("BPR", "w", settings=settings, resume=True)["epochs"] == 2

"""Checkpoints that cannot be served say why."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from served_world import SMALL

import recbole_pixel
from recbole_pixel.evaluation.cold_cases import cold_tokens
from recbole_pixel.quick_start import run


def test_missing_torn_and_foreign_files(saved, tmp_path):
    path = saved("PixelSASRec:id").path
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint .*nearest is"):
        recbole_pixel.load(path.with_name("00.pth"))
    torn = tmp_path / "torn.pth"
    torn.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"torn\.pth is no checkpoint, or was cut short"):
        recbole_pixel.load(torn)
    other = tmp_path / "other.pth"
    torch.save({"weights": torch.zeros(1)}, other)
    with pytest.raises(ValueError, match=r"holds no settings and weights"):
        recbole_pixel.load(other)
    with pytest.raises(ValueError, match=r"history is 'test'; expected all .* or train"):
        recbole_pixel.load(path, history="test")


def test_a_dataset_that_moved_is_named_anew(saved, served, tmp_path):
    path = saved("PixelSASRec:image").path
    expected = recbole_pixel.load(path).recommend("u1")
    folder = Path(served["data_path"])
    shutil.copytree(folder / "word", tmp_path / "moved" / "word")
    away = folder.rename(folder.with_name("away"))
    try:
        copied = away / path.relative_to(folder)
        with pytest.raises(FileNotFoundError, match=r"there is no dataset 'word' .* by data_path"):
            recbole_pixel.load(copied)
        moved = recbole_pixel.load(copied, data_path=tmp_path / "moved")
    finally:
        away.rename(folder)
    assert moved.recommend("u1")[0].items == expected[0].items


def test_a_dataset_of_other_items_does_not_fit_ids(saved, served, tmp_path):
    path = saved("PixelSASRec:id").path
    shutil.copytree(Path(served["data_path"]) / "word", tmp_path / "word")
    with (tmp_path / "word" / "word.inter").open("a") as file:
        file.write("u1\tbrand_new\t99\n")
    with pytest.raises(ValueError, match=r"does not fit its dataset: size mismatch for item_embedding\.weight"):
        recbole_pixel.load(path, data_path=tmp_path)


def test_recboles_models_open_and_its_own_checkpoints_on_trust(served, settings, tmp_path):
    """Our command saves plain values of any model; RecBole's own ``run_recbole`` pickles its Config."""
    kept = ("MAX_ITEM_LIST_LENGTH", "checkpoint_dir", "show_progress", "state", "seed")
    asked = {**{key: settings[key] for key in kept}, "data_path": served["data_path"]}
    configs: list[Any] = []
    result = run(
        "GRU4Rec",
        "word",
        settings={**asked, "epochs": 1, "embedding_size": 8},
        then=lambda _, trained: configs.append(trained.config),
    )
    pickled = tmp_path / "pickled.pth"
    torch.save({**torch.load(result["checkpoint"]), "format": None, "config": configs[0]}, pickled, pickle_protocol=4)
    with pytest.raises(ValueError, match=r"a pickle, which can run any code. .*--trust"):
        recbole_pixel.load(pickled)
    for checkpoint, trust in ((result["checkpoint"], False), (pickled, True)):
        recommender = recbole_pixel.load(checkpoint, trust=trust, history="train")
        targets = recbole_pixel.load(checkpoint, trust=trust)
        answers = recommender.recommend([user for user in recommender.users if user.startswith("u")])
        hits = [targets.history(answer.user)[-1] in answer.items for answer in answers]
        assert len(hits) == 16
        assert sum(hits) / 16 == pytest.approx(result["test"]["recall@10"], abs=1e-4)
        assert recommender.item_vectors().shape == (24, 8)


@pytest.mark.parametrize(
    ("model", "tower", "field"), [("PixelSASRec", "id", "item_id"), ("PixelMF", "image", "user_id")]
)
def test_tables_of_other_users_or_items_are_told_from_ones_own_by_more_than_their_size(
    served, settings, tmp_path, model, tower, field
):
    asked = {**settings, **SMALL, "data_path": served["data_path"], "item_tower": tower, "epochs": 1}
    path = run(model, "word", settings=asked)["checkpoint"]
    shutil.copytree(Path(served["data_path"]) / "word", tmp_path / "word")
    assert recbole_pixel.load(path, data_path=tmp_path).users
    rows = tmp_path / "word" / "word.inter"
    head, *lines = rows.read_text().splitlines()
    rows.write_text("\n".join([head, *lines[::-1]]) + "\n")  # RecBole numbers tokens as they come
    with pytest.raises(ValueError, match=rf"trained on other values of {field} than word has here, or on the same in"):
        recbole_pixel.load(path, data_path=tmp_path)


def test_cold_items_are_those_of_the_run_and_what_came_since(served, settings, tmp_path):
    """Drawn anew from a catalogue that grew, others would be lifted."""
    own = {"item_tower": "text", "cold_items": 0.2, "cold_split": 1, "cold_offset": 1000.0, "epochs": 1}
    held_out: list[str] = []
    asked = {**settings, **SMALL, **served, **own}

    def keep(_: Any, trained: Any) -> None:
        held_out.extend(cold_tokens(trained.parts[0]))

    path = run("PixelSASRec", "word", (), asked, then=keep)["checkpoint"]
    shutil.copytree(Path(served["data_path"]) / "word", tmp_path / "word")
    new = [f"a_new_{number}" for number in range(9)]
    for kind, line in (("item", "{0}\tround red"), ("inter", "somebody\t{0}\t7")):
        with (tmp_path / "word" / f"word.{kind}").open("a") as file:
            file.writelines(line.format(item) + "\n" for item in new)
    same = recbole_pixel.load(path)
    grown = recbole_pixel.load(path, data_path=tmp_path)
    assert len(held_out) == 5
    for recommender, lifted in ((same, held_out), (grown, [*held_out, *new])):
        assert set(recommender.recommend("u0", len(lifted), exclude_history=False)[0].items) == set(lifted)
    drawn = recbole_pixel.load(path, data_path=tmp_path, settings={"cold_split": 1})
    answer = drawn.recommend("u0", round(0.2 * 33), exclude_history=False)[0]
    assert not {*held_out, *new} >= set(answer.items), "others, on request"
    old = tmp_path / "old.pth"
    contents = torch.load(path)
    torch.save({key: value for key, value in contents.items() if key != "trained_items"}, old)
    before = recbole_pixel.load(old, data_path=tmp_path).recommend("u0", round(0.2 * 33), exclude_history=False)[0]
    assert before == answer, "a checkpoint that does not know them"

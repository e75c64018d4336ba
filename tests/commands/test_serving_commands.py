"""The commands of a trained model, from its checkpoint to files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served_world import NAME, SMALL, save_untrained, served_world

import recbole_pixel
from recbole_pixel.cli import main
from recbole_pixel.commands.serving import tokens_in


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("commands")


@pytest.fixture(scope="module")
def world(folder) -> dict[str, Any]:
    return served_world(folder)


@pytest.fixture
def checkpoint(build, folder, world, settings) -> str:
    path = folder / "saved" / "model.pth"
    if not path.exists():
        config, model, _ = build(NAME, {**settings, **SMALL, **world, "item_tower": "image"}, "PixelSASRec")
        save_untrained(path, config, model.eval())
    return str(path)


def test_recommend_prints_json_and_writes_tables_and_pages(checkpoint, capsys, tmp_path):
    asked = ["recommend", "--checkpoint", checkpoint, "--users", "u3,u1", "--topk", "3"]
    assert main(asked) == 0
    found = json.loads(capsys.readouterr().out)
    expected = recbole_pixel.load(checkpoint).recommend(["u3", "u1"], topk=3)
    assert [(entry["user"], entry["items"]) for entry in found] == [(one.user, one.items) for one in expected]
    assert main([*asked, "--output", "out/r.csv"]) == 0
    rows = list(csv.DictReader((tmp_path / "out" / "r.csv").open()))
    assert [(row["user"], row["rank"], row["item"]) for row in rows[:4]] == [
        *(("u3", str(rank), item) for rank, item in enumerate(expected[0].items, 1)),
        ("u1", "1", expected[1].items[0]),
    ]
    assert main([*asked, "--output", "r.html"]) == 0
    assert (tmp_path / "r.html").read_text().count("<section>") == 2


def test_users_come_from_a_file_or_are_all(checkpoint, capsys, tmp_path):
    (tmp_path / "who.txt").write_text("u5\n\nu2\n")
    assert main(["recommend", "-c", checkpoint, "--users", "@who.txt", "--candidates", "i1,i2,i3"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [entry["user"] for entry in found] == ["u5", "u2"]
    assert all(set(entry["items"]) <= {"i1", "i2", "i3"} for entry in found)
    assert main(["recommend", "-c", checkpoint, "--format", "csv", "--include_history", "--topk", "24"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 18 * 24


def test_similar_new_item_and_export(checkpoint, capsys, world, tmp_path):
    assert main(["similar", "-c", checkpoint, "--items", "i6", "--topk", "2"]) == 0
    (near,) = json.loads(capsys.readouterr().out)
    picture = f"{world['data_path']}/word-pictures/i6.png"
    assert main(["new-item", "-c", checkpoint, "--image", picture, "--topk", "3", "--format", "csv"]) == 0
    rows = list(csv.reader(capsys.readouterr().out.splitlines()))
    assert [row[3] for row in rows if row[1] == "item"] == ["i6", *near["items"]]
    assert [row[1] for row in rows] == ["kind", *["user"] * 3, *["item"] * 3]
    assert main(["export", "-c", checkpoint, "--what", "item_vectors", "--output", "v.npy"]) == 0
    assert np.load(tmp_path / "v.npy").shape == (24, 16)
    assert "v.npy.tokens.txt" in capsys.readouterr().out


def test_a_file_of_tokens_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "who.txt").write_bytes(b"\xef\xbb\xbfu5\r\nu2\r\n")
    assert tokens_in(f"@{tmp_path / 'who.txt'}", "--users") == ["u5", "u2"]


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (["recommend", "--users", "@nobody.txt"], "--users names no file: nobody.txt"),
        (["recommend", "--users", ","], "names nothing"),
        (["recommend", "--users", "x9"], "1 of 1 users are not among the 18"),
        (["recommend", "--item_towr=id"], "unknown key 'item_towr'; the nearest is item_tower"),
        (["new-item"], "no new item was given"),
        (["export", "--what", "index", "--format", "npy", "--output", "x"], "cannot be exported as npy"),
        (["export", "--output", "."], ". is a folder; name a file in it, such as item_vectors.npy"),
    ],
)
def test_errors_are_one_line(checkpoint, capsys, asked, why):
    assert main([asked[0], "--checkpoint", checkpoint, *asked[1:]]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("recbole-pixel: error: ")
    assert why in error


def test_a_folder_is_refused_before_anything_is_loaded(capsys, tmp_path):
    assert main(["export", "-c", "absent.pth", "--what", "user_vectors", "--output", str(tmp_path)]) == 2
    assert f"{tmp_path} is a folder; name a file in it, such as {tmp_path}/user_vectors.npy" in capsys.readouterr().err

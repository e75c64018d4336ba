"""`images build`, `check` and `show` as a user types them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from PIL import Image

from recbole_pixel.commands import images
from recbole_pixel.store import ImageStore, StoreError

COLOURS = [(i * 20, 255 - i * 20, (i * 70) % 256) for i in range(8)]


def run(*arguments: object) -> int:
    """The exit code of `recbole-pixel images ...`; errors come through, as to the top of the command line."""
    parser = argparse.ArgumentParser()
    images.add_parser(parser.add_subparsers())
    parsed = parser.parse_args(["images", *map(str, arguments)])
    return parsed.func(parsed)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A data path with one dataset `toy` of eight items, and covers for them."""
    (tmp_path / "covers").mkdir()
    for i, colour in enumerate(COLOURS):
        Image.new("RGB", (20, 30), colour).save(tmp_path / "covers" / f"i{i}.png")
    (tmp_path / "data" / "toy").mkdir(parents=True)
    (tmp_path / "data" / "toy" / "toy.item").write_text("item_id:token\n" + "".join(f"i{i}\n" for i in range(8)))
    return tmp_path


def build(world: Path, *options: object) -> int:
    store = world / "data" / "toy" / "images.lmdb"
    return run("build", "--source", world / "covers", "--out", store, "--size", 16, "--quiet", *options)


def test_build_check_show(world: Path, capsys):
    assert build(world) == 0
    assert "8 pictures written" in capsys.readouterr().out
    assert build(world) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run("check", "--dataset", "toy", "--data_path", world / "data", "--quiet", "--deep") == 0
    assert "clean" in capsys.readouterr().out
    store = world / "data" / "toy" / "images.lmdb"
    assert run("show", "--store", store, "--out", world / "sheet.png", "--tokens", "i3,i1", "--columns", 2) == 0
    with Image.open(world / "sheet.png") as sheet:
        found = sheet.convert("RGB").getpixel((8 + 64, 8 + 64))
    assert max(abs(a - b) for a, b in zip(found, COLOURS[3], strict=True)) <= 4
    assert run("show", "--store", store, "--out", world / "sheet.png", "--n", 5) == 0
    assert "5 of 8 pictures" in capsys.readouterr().out


def test_bad_pictures_are_named_and_the_store_is_built(world: Path, capsys):
    (world / "covers" / "torn.jpg").write_bytes(b"<html>not found</html>")
    assert build(world) == 0
    assert "bad picture of item 'torn': text, not a picture" in capsys.readouterr().out
    assert len(ImageStore(world / "data" / "toy" / "images.lmdb")) == 8


def test_options_reach_the_build(world: Path):
    build(world, "--keep-original")
    store = ImageStore(world / "data" / "toy" / "images.lmdb")
    assert store.read("i2") == (world / "covers" / "i2.png").read_bytes()
    build(world, "--fit", "pad", "--workers", 1)
    assert ImageStore(store.path).manifest["fit"] == "pad"


def test_check_exits_1_for_each_fault(world: Path, capsys):
    build(world)
    store = world / "data" / "toy" / "images.lmdb"
    items = world / "items.item"
    everything = [f"i{i}" for i in range(8)]
    for named, line in (
        (everything[1:], "without an item): 1: i0"),
        ([*everything, "i9"], "without a picture): 1: i9"),
    ):
        items.write_text("item_id:token\n" + "\n".join(named) + "\n")
        assert run("check", "--store", store, "--items", items, "--quiet") == 1
        assert line in capsys.readouterr().out
    (world / "covers" / "twin.png").write_bytes((world / "covers" / "i5.png").read_bytes())
    build(world)
    assert run("check", "--store", store, "--quiet", "--report", world / "report.json") == 1
    assert json.loads((world / "report.json").read_text())["duplicates"] == [["i5", "twin"]]


def test_check_reads_the_interactions_where_there_is_no_item_file(world: Path):
    build(world)
    folder = world / "data" / "toy"
    (folder / "toy.item").unlink()
    (folder / "toy.inter").write_text("user_id:token\titem_id:token\n" + "".join(f"u\ti{i % 8}\n" for i in range(20)))
    assert run("check", "--dataset", "toy", "--data_path", world / "data", "--quiet") == 0
    (folder / "toy.inter").unlink()
    with pytest.raises(FileNotFoundError, match=r"neither toy\.item nor toy\.inter"):
        run("check", "--dataset", "toy", "--data_path", world / "data")


def test_user_errors_are_errors_with_a_remedy(world: Path):
    with pytest.raises(FileNotFoundError, match="expected a folder, a ZIP"):
        run("build", "--source", world / "absent", "--out", world / "s")
    with pytest.raises(FileExistsError, match="not replaced"):
        run("build", "--source", world / "covers", "--out", world / "data", "--quiet")
    with pytest.raises(StoreError, match="images build"):
        run("check", "--store", world / "covers")
    with pytest.raises(ValueError, match="--store PATH, or --dataset NAME"):
        run("check")
    build(world)
    with pytest.raises(LookupError, match="no picture of item 'x'"):
        run("show", "--store", world / "data" / "toy" / "images.lmdb", "--out", world / "o.png", "--tokens", "x")


def test_interrupted_build_says_how_to_go_on(world: Path, capsys, monkeypatch):
    def _interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(images, "build_image_store", _interrupted)
    assert build(world) == 130
    assert "run the same command again" in capsys.readouterr().out


def test_posters(posters: Path, tmp_path: Path, capsys):
    """Real posters: all are read, and a sheet of them is not blank."""
    few = tmp_path / "few"
    few.mkdir()
    for file in sorted(posters.glob("*.jpg"))[:60]:
        (few / file.name).symlink_to(file)
    assert run("build", "--source", few, "--out", tmp_path / "images.lmdb", "--quiet") == 0
    assert "60 pictures written, 0 already there, 0 bad" in capsys.readouterr().out
    assert run("show", "--store", tmp_path / "images.lmdb", "--out", tmp_path / "sheet.png") == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert len(sheet.convert("RGB").getcolors(1 << 24)) > 10_000

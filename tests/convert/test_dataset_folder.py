"""Interrupted and repeated conversions."""

from __future__ import annotations

from pathlib import Path

import pytest

from recbole_pixel.convert import Options, Source, SourceTable, convert
from recbole_pixel.convert.dataset import InteractionColumns
from recbole_pixel.convert.dataset_folder import DatasetFolder
from recbole_pixel.store import open_source


def source(log: Path, pictures: Path | None = None) -> Source:
    images = None if pictures is None else open_source(pictures)
    return Source(SourceTable(log), InteractionColumns("u", "i", "t"), images=images)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.csv"
    path.write_text("u,i,t\nx,a,1\ny,b,2\n")
    return path


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError], ids=["interrupted", "failed"])
def test_an_interrupted_first_conversion_leaves_nothing(log: Path, tmp_path: Path, monkeypatch, error) -> None:
    def stop(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("recbole_pixel.convert.dataset.write_items", stop)
    with pytest.raises(error):
        convert(source(log), "d", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_interrupted_second_conversion_leaves_the_first(log: Path, tmp_path: Path, monkeypatch) -> None:
    made = convert(source(log), "d", tmp_path / "out").path
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    log.write_text("u,i,t\nx,a,1\n")
    monkeypatch.setattr("recbole_pixel.convert.dataset.write_items", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        convert(source(log), "d", tmp_path / "out")
    assert {path.name: path.read_bytes() for path in made.iterdir()} == before


def test_a_second_conversion_replaces_files_and_rebuilds_only_changed_pictures(log, covers, tmp_path: Path) -> None:
    pictures = covers("a", "b")
    first = convert(source(log, pictures), "d", tmp_path / "out", Options())
    store = (first.path / "images.lmdb" / "data.mdb").stat()
    log.write_text("u,i,t\nx,a,1\ny,b,2\ny,a,3\n")

    again = convert(source(log, pictures), "d", tmp_path / "out")
    assert again.pictures is not None
    assert not again.pictures.is_fresh
    assert (first.path / "images.lmdb" / "data.mdb").stat() == store
    assert (first.path / "d.inter").read_text().endswith("y\tb\t2\ny\ta\t3\n")

    covers("b", "a")  # the colours change places
    changed = convert(source(log, pictures), "d", tmp_path / "out")
    assert changed.pictures is not None
    assert changed.pictures.is_fresh


def test_two_conversions_of_one_name_exclude_each_other(log: Path, tmp_path: Path) -> None:
    with DatasetFolder(tmp_path / "out", "d"), pytest.raises(BlockingIOError):
        convert(source(log), "d", tmp_path / "out")


@pytest.mark.parametrize("name", ["", ".x", "a/b", "a\\b", "ml-100k"])
def test_names_that_cannot_be_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be named|its own copy"):
        DatasetFolder(tmp_path, name)

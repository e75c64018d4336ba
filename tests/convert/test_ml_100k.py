"""MovieLens-100K from RecBole's wheel."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_pixel.convert.ml_100k import dataset_folder, read_films
from recbole_pixel.convert.source_table import SourceTable
from recbole_pixel.store import ImageStore

pytestmark = pytest.mark.skipif(importlib.util.find_spec("recbole") is None, reason="RecBole is not installed")


@pytest.fixture
def made(convert, tmp_path: Path) -> Path:
    assert convert("ml-100k", "--name", "ml", "--skip-images") == 0
    return tmp_path / "dataset_atomic" / "ml"


def test_counts_and_order(made: Path) -> None:
    lines = (made / "ml.inter").read_text().splitlines()
    assert lines[0] == "user_id:token\titem_id:token\ttimestamp:float\trating:float"
    assert lines[1:4] == ["1\t168\t874965478\t5", "1\t172\t874965478\t5", "1\t165\t874965518\t5"]
    rows = [line.split("\t") for line in lines[1:]]
    assert (len(rows), len({row[0] for row in rows}), len({row[1] for row in rows})) == (100_000, 943, 1_682)
    keys = [(row[0], int(row[2])) for row in rows]
    assert keys == sorted(keys)


def test_nothing_is_lost_and_ties_keep_the_order_of_the_file(made: Path) -> None:
    original = [line.split("\t") for line in (dataset_folder() / "ml-100k.inter").read_text().splitlines()[1:]]
    expected = sorted(original, key=lambda row: (row[0], int(row[3])))
    lines = (made / "ml.inter").read_text().splitlines()[1:]
    assert [line.split("\t") for line in lines] == [[user, item, time, rating] for user, item, rating, time in expected]


def test_the_item_file_is_recboles_own(made: Path) -> None:
    assert (made / "ml.item").read_bytes() == (dataset_folder() / "ml-100k.item").read_bytes()


def test_films_are_read_with_their_years_and_genres() -> None:
    films = {film.token: film for film in read_films(SourceTable(dataset_folder() / "ml-100k.item", quote=None))}
    assert len(films) == 1_682
    assert (films["1"].title, films["1"].year) == ("Toy Story", 1995)
    assert films["1"].genres == ("Animation", "Children's", "Comedy")
    assert films["267"].year is None


def test_covers_of_the_users_own(convert, covers, tmp_path: Path, capsys) -> None:
    assert convert("ml-100k", "--covers", covers("1", "50", "1682", "1683"), "--name", "mine") == 0
    assert sorted(ImageStore(tmp_path / "dataset_atomic" / "mine" / "images.lmdb").tokens()) == ["1", "1682", "50"]
    out = capsys.readouterr().out
    assert "items without a picture: 1,679 (2, 3, 4, 5, 6, ...)" in out
    assert "pictures without an item, left out: 1" in out


def test_drawn_covers_say_that_none_are_shipped(convert, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("recbole_pixel.convert.ml_100k.read_films", lambda table: read_films(table)[:12])
    assert convert("ml-100k", "--name", "drawn") == 0
    drawn = ImageStore(tmp_path / "dataset_atomic" / "drawn" / "images.lmdb").read("1")
    assert drawn[:2] == b"\xff\xd8"
    assert "the covers are drawn here from each film's title, year and genres" in capsys.readouterr().out


def test_neither_torch_nor_recbole_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from recbole_pixel.cli import main\n"
        f"main(['convert', 'ml-100k', '--name', 'x', '--skip-images', '--out', {str(tmp_path)!r}])\n"
        "print(sorted({'torch', 'recbole'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_overviews_become_descriptions(convert, tmp_path: Path, capsys) -> None:
    """Cells with quotes and commas among them; a film without one has none, and a film of no one's is left out."""
    overviews = tmp_path / "overviews.csv"
    overviews.write_text(
        'item_id,title,overview\n2,GoldenEye,"He said ""no"", twice."\n1,Toy Story,Toys.\n9999,None,x\n'
    )
    assert convert("ml-100k", "--name", "told", "--skip-images", "--overviews", str(overviews)) == 0
    lines = (tmp_path / "dataset_atomic" / "told" / "told.item").read_text().splitlines()
    assert lines[0].endswith("class:token_seq\tdescription:token_seq")
    assert lines[1].split("\t")[-1] == "Toys."
    assert lines[2].split("\t")[-1] == '"He said ""no"", twice."'
    assert lines[3].split("\t")[-1] == ""
    assert len(lines) == 1_683
    assert "2 of 1682 films have an overview" in capsys.readouterr().out


def test_overviews_of_other_films_are_refused(convert, tmp_path: Path, capsys) -> None:
    (tmp_path / "overviews.csv").write_text("item_id,overview\nx,y\n")
    assert convert("ml-100k", "--name", "told", "--skip-images", "--overviews", str(tmp_path / "overviews.csv")) != 0
    assert "has an overview of none of the 1682 films" in capsys.readouterr().err

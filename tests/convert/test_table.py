"""Anyone's table by the command line, with pictures by folder and by column."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from recbole_pixel.store import ImageStore, decode_image

LOG = "sku,uid,at\nB,ann,3\nA,ann,2\nA,bob,1\n"
PRODUCTS = "code,name,price,photo\nA,Red shoe,10,sub/red.png\nB,Blue hat,20,missing.png\nC,Unsold,5,blue.jpg\n"
WORDS = ("table", "--interactions", "log.csv", "--user", "uid", "--item", "sku", "--time", "at", "--name", "shop")
ITEMS = ("--items", "products.csv", "--item-key", "code", "--item-columns", "name:token_seq,price:float")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "log.csv").write_text(LOG)
    (tmp_path / "products.csv").write_text(PRODUCTS)
    return tmp_path / "dataset_atomic" / "shop"


def test_pictures_by_column(convert, covers, tmp_path: Path, shop: Path, capsys) -> None:
    (covers("a", folder="photos") / "a.jpg").rename(tmp_path / "photos" / "red.png")
    (tmp_path / "photos" / "sub").mkdir()
    (tmp_path / "photos" / "red.png").rename(tmp_path / "photos" / "sub" / "red.png")

    assert convert(*WORDS, *ITEMS, "--image-column", "photo", "--image-root", "photos", "--image-size", "16") == 0

    assert (shop / "shop.inter").read_text() == (
        "user_id:token\titem_id:token\ttimestamp:float\nann\tA\t2\nann\tB\t3\nbob\tA\t1\n"
    )
    assert (shop / "shop.item").read_text() == (
        "item_id:token\tname:token_seq\tprice:float\nA\tRed shoe\t10\nB\tBlue hat\t20\n"
    )
    store = ImageStore(shop / "images.lmdb")
    assert store.tokens() == ["A"]
    assert decode_image(store.read("A")).shape == (16, 16, 3)
    assert "items without a picture: 1 (B)" in capsys.readouterr().out


def test_all_items_with_pictures_by_folder(convert, covers, shop: Path, capsys) -> None:
    assert convert(*WORDS, *ITEMS, "--all-items", "--images", covers("A", "B", "C", "D")) == 0
    assert (shop / "shop.item").read_text().splitlines()[1:] == ["A\tRed shoe\t10", "B\tBlue hat\t20", "C\tUnsold\t5"]
    assert sorted(ImageStore(shop / "images.lmdb").tokens()) == ["A", "B", "C"]
    assert "pictures without an item, left out: 1" in capsys.readouterr().out


def test_an_unreadable_picture_counts_as_missing_and_is_named(convert, covers, shop: Path, capsys) -> None:
    folder = covers("A", "B")
    (folder / "B.jpg").write_bytes(b"not a picture")
    assert convert(*WORDS, "--images", folder) == 0
    out = capsys.readouterr().out
    assert "items without a picture: 1 (B)" in out
    assert "unreadable picture of item B" in out


def test_a_picture_out_of_its_folder_counts_as_missing_and_is_named(convert, covers, tmp_path, shop, capsys) -> None:
    covers("A", folder="photos")
    covers("B", folder="elsewhere")
    (tmp_path / "products.csv").write_text("code,name,price,photo\nA,x,1,A.jpg\nB,y,2,../elsewhere/B.jpg\n")
    command = (*WORDS, *ITEMS, "--image-column", "photo")
    assert convert(*command, "--image-root", "photos") == 0
    out = capsys.readouterr().out
    assert "items without a picture: 1 (B)" in out
    assert "unreadable picture of item B: 'photos/../elsewhere/B.jpg' leads out of " in out
    assert ImageStore(shop / "images.lmdb").tokens() == ["A"]

    (tmp_path / "products.csv").write_text("code,name,price,photo\nB,y,2,../elsewhere/B.jpg\n")
    assert convert(*command, "--image-root", "photos") == 2
    assert "name a folder that holds them all with --image-root" in capsys.readouterr().err


def test_images_can_be_skipped(convert, covers, shop: Path) -> None:
    assert convert(*WORDS, "--images", covers("A"), "--skip-images") == 0
    assert sorted(path.name for path in shop.iterdir()) == ["shop.inter", "shop.item"]


def test_without_time_the_summary_says_so(convert, shop: Path, capsys) -> None:
    assert convert(*(word for word in WORDS if word not in ("--time", "at"))) == 0
    assert "time: the order of the rows in the file, since no time column was named" in capsys.readouterr().out
    assert (shop / "shop.inter").read_text().splitlines()[1:] == ["ann\tB\t0", "ann\tA\t1", "bob\tA\t2"]


def test_parquet_on_both_sides(convert, tmp_path: Path, shop: Path) -> None:
    pl.read_csv(tmp_path / "log.csv").write_parquet(tmp_path / "log.parquet")
    pl.read_csv(tmp_path / "products.csv").write_parquet(tmp_path / "products.parquet")
    words = [word.replace(".csv", ".parquet") for word in (*WORDS, *ITEMS)]
    assert convert(*words) == 0
    assert (shop / "shop.item").read_text() == (
        "item_id:token\tname:token_seq\tprice:float\nA\tRed shoe\t10\nB\tBlue hat\t20\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--image-column", "photo"), "--image-column names a column of --items, which is not given"),
        (("--image-root", "x"), "--image-root is where the names of --image-column start, which is not given"),
        ((*ITEMS, "--image-column", "foto"), "no column 'foto'; the nearest is 'photo'"),
        ((*ITEMS, "--image-column", "photo"), "none of the 3 files that column 'photo'"),
        ((*ITEMS[:-1], "name:words"), "expected one of token, token_seq, float, float_seq"),
        (("--images", "nowhere"), "nothing at nowhere; expected a folder"),
        (("--name", "ml-100k"), "RecBole reads its own copy"),
        (("--name", "a/b"), "cannot be named 'a/b'"),
    ],
)
def test_wrong_flags_are_told_in_one_line(convert, shop: Path, capsys, words: tuple[str, ...], message: str) -> None:
    assert convert(*WORDS, *words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_pictures_of_other_items_are_an_error(convert, covers, shop: Path, capsys) -> None:
    assert convert(*WORDS, "--images", covers("img_1", "img_2")) == 2
    assert "named like 'img_1', items like 'A'" in capsys.readouterr().err
    assert not shop.exists()


def test_web_addresses_in_the_column_are_an_error(convert, tmp_path: Path, shop: Path, capsys) -> None:
    (tmp_path / "products.csv").write_text("code,name,price,photo\nA,x,1,https://example.org/a.jpg\n")
    assert convert(*WORDS, *ITEMS, "--image-column", "photo") == 2
    assert "web addresses (1 of 1, e.g. https://example.org/a.jpg)" in capsys.readouterr().err

"""The check finds what is wrong, and only that."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import lmdb
import pytest
from PIL import Image
from store_world import BLUE, RED, encoded, plain, shade

from recbole_pixel.store import ImageStore, StoreError, check_store, contact_sheet, random_tokens, read_items
from recbole_pixel.store.contact_sheet import CAPTION, CELL, GAP, sheet_size
from recbole_pixel.store.durable import file_digest, write_manifest


def test_clean_store(build, pictures):
    report = check_store(build(pictures).path, list(pictures), deep=True)
    assert report.is_clean
    assert (report.n_pictures, report.n_items) == (20, 20)
    assert report.text().endswith("\nclean")


def test_missing_orphaned_and_duplicates(build):
    store = build({"a": plain(RED), "b": plain(BLUE), "c": plain(RED), "orphan": plain(shade(7))})
    report = check_store(store.path, ["a", "b", "c", "gone", "lost"])
    assert report.missing == ["gone", "lost"]
    assert report.orphaned == ["orphan"]
    assert report.duplicates == [["a", "c"]]
    assert report.corrupt == {}
    assert not report.is_clean
    assert "missing (items without a picture): 2: gone, lost" in report.text()
    assert "a = c" in report.text()


def test_names_the_first_few_or_all(build, pictures):
    report = check_store(build(pictures).path, [*pictures, *(f"m{i}" for i in range(9))])
    assert "9: m0, m1, m2, m3, m4, ..." in report.text()
    assert "m8" in report.text(None)
    assert json.loads(report.as_json())["missing"][-1] == "m8"
    assert json.loads(report.as_json())["is_clean"] is False


def test_equal_pixels_in_different_files_are_duplicates(build, tmp_path: Path):
    store = build({"png": plain(RED), "bmp": _bmp(RED)}, keep_original=True)
    assert store.read("png") != store.read("bmp")
    assert check_store(store.path).duplicates == [["bmp", "png"]]


def _bmp(colour: tuple[int, int, int]) -> bytes:
    return encoded(Image.new("RGB", (32, 32), colour), "BMP")


def _flipped(store: ImageStore, needle: bytes, offset: int) -> Path:
    path = shutil.copytree(store.path, store.path.with_name("flipped"))
    content = bytearray((path / "data.mdb").read_bytes())
    content[content.index(needle) + offset] ^= 64
    (path / "data.mdb").write_bytes(content)
    return path


@pytest.mark.parametrize("deep", [False, True])
def test_flipped_picture_is_corrupt(build, pictures, deep: bool):
    store = build(pictures)
    report = check_store(_flipped(store, store.read("i7"), 99), list(pictures), deep=deep)
    assert list(report.corrupt) == ["i7"]
    assert "checksum" in report.corrupt["i7"]
    assert (report.damage is not None) == deep
    assert report.missing == []


def test_deep_survives_a_damaged_index(build, pictures):
    """Page numbers of a branch turned to nonsense: LMDB itself would read on, behind the end of the file."""
    store = build({f"{i:0400d}": data for i, data in enumerate(pictures.values())})
    path = shutil.copytree(store.path, store.path.with_name("flipped"))
    content = bytearray((path / "data.mdb").read_bytes())
    for page in range(2, len(content) // 4096):
        if content[page * 4096 + 10] & 1:  # P_BRANCH in LMDB's page flags
            content[page * 4096 + 20 : page * 4096 + 4096] = b"\x7f" * 4076
    (path / "data.mdb").write_bytes(content)
    report = check_store(path, deep=True)
    assert report.damage is not None
    assert "the pictures could not be looked at" in report.damage
    assert report.text().count("\n") == 2, "no counts of what was not counted"


def test_stored_bytes_that_are_no_picture_are_corrupt(build, pictures):
    """A foreign hand put them in, with a right checksum."""
    store = build(pictures)
    path = shutil.copytree(store.path, store.path.with_name("touched"))
    with lmdb.open(str(path), max_dbs=4) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"i3", b"<html>", db=environment.open_db(b"pictures", txn=transaction))
    (path / "lock.mdb").unlink()
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["manifest_digest"], manifest["header_digest"]
    manifest.update(file_bytes=(path / "data.mdb").stat().st_size, file_digest=file_digest(path / "data.mdb"))
    write_manifest(path, manifest)
    assert list(check_store(path).corrupt) == ["i3"]


def test_truncated_store(build, pictures):
    store = build(pictures)
    os.truncate(store.path / "data.mdb", 9000)
    with pytest.raises(StoreError, match="promises"):
        check_store(store.path)


def test_items_of_atomic_files(tmp_path: Path):
    (tmp_path / "x.item").write_text(
        'title:token_seq\titem_id:token\nA "quoted" film\ti2\nB\ti1\n', encoding="utf-8-sig"
    )
    assert read_items(tmp_path / "x.item") == ["i2", "i1"]
    (tmp_path / "x.inter").write_bytes(b"user_id:token\titem_id:token\r\nu1\ti1\r\nu2\ti1\r\nu1\ti3\r\n")
    assert read_items(tmp_path / "x.inter") == ["i1", "i3"]
    (tmp_path / "x.user").write_text("user_id:token\nu1\n")
    with pytest.raises(ValueError, match="expected a tab-separated file with item_id:token"):
        read_items(tmp_path / "x.user")


def test_contact_sheet_shows_each_picture_in_its_cell(build, pictures):
    store = build(pictures, size=64)
    tokens = [f"i{i}" for i in range(10)]
    sheet = contact_sheet(store, tokens, columns=4)
    assert sheet.size == sheet_size(10, 4) == (GAP + 4 * (CELL + GAP), GAP + 3 * (CELL + CAPTION + GAP))
    for i in range(10):
        left, top = GAP + i % 4 * (CELL + GAP), GAP + i // 4 * (CELL + CAPTION + GAP)
        found = sheet.getpixel((left + CELL // 2, top + CELL // 2))
        assert max(abs(a - b) for a, b in zip(found, shade(i), strict=True)) <= 4
        caption = sheet.crop((left, top + CELL, left + CELL, top + CELL + CAPTION)).convert("L")
        assert caption.getextrema()[0] < 128, "the token is written below"
    assert sheet.getpixel((GAP + 3 * (CELL + GAP) + 9, GAP + 2 * (CELL + CAPTION + GAP) + 9)) == (255, 255, 255)


def test_contact_sheet_of_strange_tokens(build):
    tokens = ["x" * 511, "a\nb", "电影"]
    assert contact_sheet(build({token: plain(RED) for token in tokens}), tokens).size == sheet_size(3, 8)


def test_random_tokens(build, pictures):
    store = build(pictures)
    assert random_tokens(store, 5, 0) == random_tokens(store, 5, 0) != random_tokens(store, 5, 1)
    assert random_tokens(store, 99, 0) == sorted(pictures)
    with pytest.raises(ValueError, match="at least 1"):
        random_tokens(store, 0, 0)

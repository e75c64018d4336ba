"""Stores that are damaged, cut short, replaced or half built while somebody reads or builds them."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import lmdb
import numpy as np
import pytest
from PIL import Image
from store_world import RED, DictSource, encoded, plain, python, shade

from recbole_pixel.cli import main
from recbole_pixel.store import (
    ArrayStore,
    ArrayStoreWriter,
    ImageStore,
    MissingPictureError,
    PixelRecSource,
    StoreError,
    build_image_store,
    check_arrays,
    check_store,
    decode_image,
    durable,
    encode_image,
    image_writer,
    open_source,
)
from recbole_pixel.store.durable import write_manifest

QUICK = {"size": 16, "workers": 1, "progress": False}
TREE = 1 | 2 | 8  # LMDB's flags of branches, leaves and meta pages
PAGE = 4096


@pytest.fixture
def tall(build) -> ImageStore:
    """A store whose index and pictures have branches above their leaves."""
    return build({f"i{i:03d}" + "x" * 200: plain(shade(i), 8) for i in range(60)})


def pages(data: bytes) -> list[int]:
    """The pages of an LMDB file that say where others are."""
    return [page for page in range(len(data) // PAGE) if struct.unpack_from("<H", data, page * PAGE + 10)[0] & TREE]


def flipped(data: bytes, rng: random.Random) -> bytes:
    """One bit of a tree's page changed, near its beginning or anywhere."""
    place = rng.choice(pages(data)) * PAGE + rng.randrange(rng.choice([24, 200, PAGE]))
    content = bytearray(data)
    content[place] ^= 1 << rng.randrange(8)
    return bytes(content)


def outcome(path: Path, expected: dict[str, bytes]) -> str:
    """`right` if all is as it was; `named` if any of it is a StoreError and the rest is right; else what is wrong."""
    told = "right"
    try:
        store = ImageStore(path)
        if store.tokens() != sorted(expected):
            return "wrong tokens"
    except StoreError:
        return "named"
    for token, picture in expected.items():
        try:
            if store.read(token) != picture:
                return "wrong picture"
        except StoreError:
            told = "named"
        except MissingPictureError:
            return "said to be missing"
    return told


def test_a_flipped_bit_anywhere_in_the_tree_is_named_or_harmless(tall, tmp_path: Path):
    """With LMDB's own reading of 600 such files two ended in SIGBUS, one in an assertion, 28 said `no picture`."""
    expected = {token: tall.read(token) for token in tall.tokens()}
    data, rng = (tall.path / "data.mdb").read_bytes(), random.Random(0)
    copied = shutil.copytree(tall.path, tmp_path / "flipped")
    found: Counter[str] = Counter()
    for _ in range(150):
        (copied / "data.mdb").write_bytes(flipped(data, rng))
        found[outcome(copied, expected)] += 1
    assert set(found) == {"right", "named"}
    assert found["named"] > 40


def test_noise_in_place_of_pages_is_named(tall, tmp_path: Path):
    expected = {token: tall.read(token) for token in tall.tokens()}
    data, rng = (tall.path / "data.mdb").read_bytes(), random.Random(0)
    copied = shutil.copytree(tall.path, tmp_path / "flipped")
    for page in pages(data):
        content = bytearray(data)
        content[page * PAGE : (page + 1) * PAGE] = rng.choice([bytes(PAGE), rng.randbytes(PAGE), data[-PAGE:]])
        (copied / "data.mdb").write_bytes(content)
        assert outcome(copied, expected) in ("named", "right")


def test_a_header_that_shows_the_state_before_is_refused(tmp_path: Path, pictures):
    """One bit makes the older of LMDB's two meta pages the newer one: all of it fits, but it is yesterday's store."""
    source = DictSource(pictures)
    build_image_store(source, tmp_path / "s", **QUICK)
    source.pictures = {**pictures, "i3": plain(RED)}
    build_image_store(source, tmp_path / "s", **QUICK)
    data = bytearray((tmp_path / "s" / "data.mdb").read_bytes())
    numbers = [struct.unpack_from("<Q", data, page * PAGE + 144)[0] for page in (0, 1)]
    data[numbers.index(min(numbers)) * PAGE + 147] ^= 1
    (tmp_path / "s" / "data.mdb").write_bytes(data)
    with pytest.raises(StoreError, match=r"header of .* is damaged; copy it again or build it again"):
        ImageStore(tmp_path / "s").read("i3")


@pytest.mark.parametrize("kind", ["pictures", "arrays"])
def test_any_changed_character_of_a_manifest_is_refused(build, pictures, tmp_path: Path, kind: str):
    path = build(pictures).path if kind == "pictures" else arrays(tmp_path / "a").path
    content = (path / "manifest.json").read_bytes()
    places = [content.index(b"manifest_digest") + 3, content.index(b"fingerprint") + 3, *range(0, len(content), 11)]
    for place in places:
        (path / "manifest.json").write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(StoreError):
            ImageStore(path) if kind == "pictures" else ArrayStore(path)


def test_a_shape_that_no_digest_covers_is_refused_by_the_fingerprint(tmp_path: Path):
    """Of a store of the first version, whose manifest has no digest: the arrays would be cut in other places."""
    path = arrays(tmp_path / "a").path
    facts = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**facts, "shape": [2, 4]} | {"manifest_digest": None}))
    with pytest.raises(StoreError, match=r"manifest\.json is damaged.*delete .* and build it again"):
        ArrayStore(path)


def arrays(path: Path, offset: int = 0, n: int = 12) -> ArrayStore:
    """A store of n arrays (8,), i0 full of `offset`, i1 of `offset` + 1, ..."""
    values = np.repeat(np.arange(n, dtype=np.int64)[:, None] + offset, 8, axis=1)
    with ArrayStoreWriter(path, [f"i{i}" for i in range(n)], (8,), "i8", {"offset": offset}) as writer:
        writer.write(writer.written, values[writer.written :])
    return ArrayStore(path)


def check_all(store: ImageStore) -> None:
    for token in store.tokens():
        store.read(token)


def test_pictures_cut_off_while_in_use_are_an_error_not_a_signal(tall):
    expected = {token: tall.read(token) for token in tall.tokens()[::9]}
    os.truncate(tall.path / "data.mdb", 2 * PAGE)
    for token, picture in expected.items():
        assert tall.read(token) == picture, "small enough to be in a page that is kept"
    with pytest.raises(StoreError, match=r"it was cut short while in use\); copy it again"):
        check_all(tall)


@pytest.mark.parametrize("mapped", [True, False])
def test_arrays_cut_off_while_in_use_are_an_error_not_a_signal(tmp_path: Path, mapped: bool):
    arrays(tmp_path / "a", n=2000)
    store = ArrayStore(tmp_path / "a", mapped=mapped)
    assert store.gather(np.array([1999]))[0, 0] == 1999
    os.truncate(tmp_path / "a" / "data.bin", 64)
    with pytest.raises((StoreError, OSError), match=r"data\.bin.*cut short.*copy the store again"):
        store.gather(np.array([1999]))
    if mapped:
        with pytest.raises(StoreError, match="cut short while in use"):
            store.preload()


def test_an_open_array_store_keeps_its_own_arrays_when_another_takes_its_name(tmp_path: Path):
    old = arrays(tmp_path / "a")
    arrays(tmp_path / "a", offset=100)
    assert old.gather(np.array([3]))[0, 0] == 3, "opened before, read for the first time after"
    assert ArrayStore(tmp_path / "a").gather(np.array([3]))[0, 0] == 103


@pytest.fixture
def rebuilding(tmp_path: Path, pictures) -> Iterator[Path]:
    """A folder in which a child process replaces `images` and `arrays` by others of the same size, again and again."""
    build_image_store(DictSource(pictures), tmp_path / "images", **QUICK)
    arrays(tmp_path / "arrays")
    child = python(REBUILDING, tmp_path, len(pictures))
    assert child.stdout is not None
    assert child.stdout.readline() == "begun\n", child.communicate()[1]
    yield tmp_path
    child.kill()
    child.communicate()


REBUILDING = """
import sys
from pathlib import Path
from store_world import DictSource, plain, shade
from test_store_faults import QUICK, arrays
from recbole_pixel.store import build_image_store
folder, n_items = Path(sys.argv[1]), int(sys.argv[2])
for turn in range(1, 10_000):
    arrays(folder / "arrays", offset=100 * (turn % 2))
    shown = {f"i{i}": plain(shade(i + turn % 2)) for i in range(n_items)}
    build_image_store(DictSource(shown), folder / "images", **QUICK)
    if turn == 1:
        print("begun", flush=True)
"""
"""In a process that shares nothing with this one: killed, a fork of it would keep tqdm's lock for good."""


def test_stores_that_are_replaced_under_the_reader_are_never_mixed(rebuilding: Path, pictures):
    seen: Counter[str] = Counter()
    told: set[str] = set()
    ends = time.monotonic() + 60  # on a machine so busy that the other process hardly builds
    while sum(seen.values()) < 150 or ("arrays 100" not in seen and time.monotonic() < ends):
        store = ArrayStore(rebuilding / "arrays")
        first = int(store.gather(np.arange(12))[0, 0])
        assert store.gather(np.arange(12))[:, 0].tolist() == list(range(first, first + 12))
        seen[f"arrays {first}"] += 1
        try:
            images = ImageStore(rebuilding / "images")
            colours = [decode_image(images.read(f"i{i}"))[0, 0].astype(int) for i in range(0, 20, 5)]
        except StoreError as error:
            told.add(str(error).partition(" was ")[2] or str(error))
            continue
        turn = int(np.abs(colours[0] - shade(1)).max() < np.abs(colours[0] - shade(0)).max())
        for i, colour in zip(range(0, 20, 5), colours, strict=True):
            assert np.abs(colour - shade(i + turn)).max() <= 3
        seen[f"images {turn}"] += 1
    assert {"arrays 0", "arrays 100"} <= set(seen)
    assert told <= {"built anew while in use; start again to read the new pictures"}
    assert sum(n for name, n in seen.items() if "images" in name) > 40


def test_a_store_away_for_the_moment_of_its_replacement_is_waited_for(build, pictures, tmp_path: Path):
    store = build(pictures)
    os.rename(store.path, tmp_path / "images.lmdb.replaced")
    back = threading.Timer(0.05, os.rename, (tmp_path / "images.lmdb.replaced", store.path))
    back.start()
    assert len(ImageStore(store.path)) == 20
    back.join()


def interrupted_build(path: Path, pictures: dict[str, bytes], n: int) -> None:
    """Leaves a partial with `n` pictures."""

    class Stopping(DictSource):
        def fingerprint(self) -> str:
            return "same"

        def read(self, token: str) -> bytes:
            if len(self.was_read) == n:
                raise KeyboardInterrupt
            return super().read(token)

    with pytest.raises(KeyboardInterrupt):
        build_image_store(Stopping(pictures), path, **QUICK)


class Same(DictSource):
    def fingerprint(self) -> str:
        return "same"


def spoiled(data: bytes, source: bytes) -> bytes:
    """The LMDB file with one byte of a picture changed, wherever LMDB left a copy of it."""
    picture = encode_image(decode_image(source, 16))
    assert picture in data
    return data.replace(picture, picture[:200] + bytes([picture[200] ^ 8]) + picture[201:])


def test_a_damaged_partial_never_becomes_a_store(tmp_path: Path, pictures):
    interrupted_build(tmp_path / "s", pictures, 12)
    usual = {f"i{i}": shade(i) for i in range(20)}
    partial, rng = tmp_path / "s.partial" / "data.mdb", random.Random(1)
    data = partial.read_bytes()
    kept = shutil.copytree(tmp_path / "s.partial", tmp_path / "kept")
    n_begun_anew = 0
    for turn in range(12):
        shutil.rmtree(tmp_path / "s", ignore_errors=True)
        shutil.rmtree(tmp_path / "s.partial", ignore_errors=True)
        shutil.copytree(kept, tmp_path / "s.partial")
        content = bytearray(data)
        content[rng.choice(pages(data)[2:]) * PAGE + 20] ^= 1 << rng.randrange(8)
        partial.write_bytes(spoiled(data, pictures["i3"]) if turn % 2 else content)
        report = build_image_store(Same(pictures), tmp_path / "s", **QUICK)
        assert check_store(tmp_path / "s", list(usual), deep=True).is_clean
        n_begun_anew += report.n_written == 20
    assert n_begun_anew >= 6, "each with a changed picture, at least"


def test_a_damaged_partial_of_arrays_is_written_anew_from_the_damage_on(tmp_path: Path):
    with (
        pytest.raises(StoreError, match="9 of 12"),
        ArrayStoreWriter(tmp_path / "a", [f"i{i}" for i in range(12)], (8,), "i8", {"offset": 0}) as writer,
    ):
        writer.write(0, np.repeat(np.arange(9)[:, None], 8, axis=1))
    content = bytearray((tmp_path / "a.partial" / "data.bin").read_bytes())
    content[5 * 64 + 1] ^= 1
    (tmp_path / "a.partial" / "data.bin").write_bytes(content)
    with ArrayStoreWriter(tmp_path / "a", [f"i{i}" for i in range(12)], (8,), "i8", {"offset": 0}) as writer:
        assert writer.written == 5
        writer.write(5, np.repeat(np.arange(5, 12)[:, None], 8, axis=1))
    store = ArrayStore(tmp_path / "a")
    assert (store.verify(), store.gather(np.arange(12))[:, 0].tolist()) == ([], list(range(12)))


def test_what_the_disk_did_not_keep_gets_no_name(tmp_path: Path, pictures, monkeypatch):
    """A disk that loses a write after saying that it was done: read back before the rename."""
    plainly = image_writer.ImageStoreWriter._fill_up

    def losing(self: image_writer.ImageStoreWriter) -> None:
        plainly(self)
        data = (self.partial / "data.mdb").read_bytes()
        with open(self.partial / "data.mdb", "r+b") as stream:
            stream.write(spoiled(data, pictures["i3"]))

    monkeypatch.setattr(image_writer.ImageStoreWriter, "_fill_up", losing)
    with pytest.raises(StoreError, match=r"damaged while it was written, and gets no name.*run the same build again"):
        build_image_store(DictSource(pictures), tmp_path / "s", **QUICK)
    assert not (tmp_path / "s").exists()
    monkeypatch.undo()
    assert build_image_store(DictSource(pictures), tmp_path / "s", **QUICK).n_written == 20


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_disk_that_fails_at_any_write_leaves_the_older_store(tmp_path: Path, pictures, monkeypatch, fault: int):
    out = tmp_path / "s"
    build_image_store(Same(pictures), out, **QUICK)
    before = ImageStore(out).read("i3")
    changed = DictSource({**pictures, "i3": plain(RED)})
    calls = [0]
    plainly = os.fsync

    def failing(handle: int) -> None:
        calls[0] += 1
        if calls[0] == fails_at:
            raise OSError(fault, os.strerror(fault))
        plainly(handle)

    monkeypatch.setattr(durable.os, "fsync", failing)
    told = []
    fails_at = 1
    while not told or ImageStore(out).read("i3") == before:
        calls[0] = 0
        with pytest.raises(OSError, match=os.strerror(fault)) as caught:
            build_image_store(changed, out, **QUICK)
        told.append(str(caught.value))
        fails_at += 1
    advice = {errno.ENOSPC: "make room and run the same build again", errno.EROFS: "name a place"}.get(fault, "")
    assert all(advice in line for line in told)
    assert len(told) > 2, "at the last one, that of the folder, the new store has its name already"
    monkeypatch.undo()
    assert build_image_store(changed, out, **QUICK).up_to_date
    assert ImageStore(out).read("i3") != before
    assert check_store(out, deep=True).is_clean


def test_a_read_only_place_says_where_else_to_go(tmp_path: Path, pictures, monkeypatch):
    def refused(*arguments: object, **named: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / "s.lock"))

    monkeypatch.setattr("recbole_pixel.store.build_lock.os.open", refused)
    with pytest.raises(OSError, match="Read-only file system: name a place that can be written"):
        build_image_store(DictSource(pictures), tmp_path / "s", **QUICK)


def test_the_lmdb_of_an_image_store_without_its_manifest_is_recognised(build, pictures, tmp_path: Path):
    store = build(pictures)
    (store.path / "manifest.json").unlink()
    with pytest.raises(StoreError, match=r"an image store of ours without its manifest\.json; copy the store again"):
        open_source(store.path)
    with pytest.raises(StoreError, match=r"holds no manifest\.json"):
        ImageStore(store.path)


def test_flipped_bits_in_the_lmdb_of_others_are_errors(tmp_path: Path):
    with lmdb.open(str(tmp_path / "x"), subdir=False, map_size=1 << 24) as opened, opened.begin(write=True) as writing:
        for i in range(400):
            writing.put(f"i{i:05d}".encode(), bytes([i % 256]) * (3000 if i % 9 == 0 else 40))
    data, rng = (tmp_path / "x").read_bytes(), random.Random(0)
    told = 0
    for turn in range(60):
        path = tmp_path / f"flipped{turn}"
        path.write_bytes(flipped(data, rng))
        try:
            source = PixelRecSource(path)
            for token in source.tokens():
                source._file.get(source._file.main, token.encode("utf-8", "surrogateescape"))
        except StoreError as error:
            told += "damaged" in str(error) or "header" in str(error) or "format" in str(error)
        path.unlink()
    assert told > 10


def test_check_finds_damage_in_caches_and_stores_of_arrays(tmp_path: Path, build, pictures, capsys):
    store = build(pictures, "w/images.lmdb")
    (tmp_path / "w" / "w.inter").write_text("user_id:token\titem_id:token\n" + "".join(f"u\t{i}\n" for i in pictures))
    cache = tmp_path / "w" / "cache"
    arrays(cache / "pixels-16-abc.array")
    shutil.copytree(cache / "pixels-16-abc.array", cache / "trunk-x.array")
    shutil.copytree(cache / "pixels-16-abc.array", cache / "cut.array")
    (cache / "half.array.partial").mkdir()
    command = ["images", "check", "--dataset", "w", "--data_path", str(tmp_path), "--quiet"]
    assert main([*command, "--deep"]) == 0
    content = bytearray((cache / "trunk-x.array" / "data.bin").read_bytes())
    content[64 * 7] ^= 1
    (cache / "trunk-x.array" / "data.bin").write_bytes(content)
    capsys.readouterr()
    assert main(command) == 0, "sizes are right"
    os.truncate(cache / "cut.array" / "data.bin", 100)
    assert main(command) == 1
    assert "cut.array: damaged: " in capsys.readouterr().out
    report = tmp_path / "report.json"
    assert main([*command, "--deep", "--report", str(report)]) == 1
    told = capsys.readouterr().out
    assert f"{store.path}: 20 pictures, 20 items" in told
    assert "trunk-x.array: 1 of 12 arrays are not as they were written: i7; delete this folder" in told
    assert "pixels-16-abc.array: 12 arrays, clean" in told
    assert "half.array.partial: unfinished; the next run that needs it goes on with it" in told
    assert [found["corrupt"] for found in json.loads(report.read_text())["arrays"]] == [[], [], [], ["i7"]]
    assert main(["images", "check", "--store", str(cache / "trunk-x.array"), "--deep"]) == 1
    assert check_arrays(cache / "pixels-16-abc.array", deep=True).is_clean


def test_half_characters_and_newlines_in_names_are_told_not_a_crash(tmp_path: Path, capsys):
    bad = {"torn\udcff": plain(RED), "good": plain(RED), "line\nbreak\x1b[31m": b"<html>"}
    report = build_image_store(DictSource(bad), tmp_path / "s", **QUICK)
    assert set(report.bad) == {"torn\udcff", "line\nbreak\x1b[31m"}
    assert ImageStore(tmp_path / "s").manifest["bad"] == report.bad
    str(report).encode("utf-8")
    assert "\x1b" not in str(report)
    found = check_store(tmp_path / "s", ["line\nbreak\x1b[31m", "good"])
    assert "line\\nbreak\\x1b[31m" in found.text()
    assert json.loads(found.as_json())["missing"] == ["line\nbreak\x1b[31m"]


def test_a_manifest_of_the_first_version_is_read(build, pictures):
    store = build(pictures)
    facts = json.loads((store.path / "manifest.json").read_text())
    del facts["manifest_digest"], facts["header_digest"]
    (store.path / "manifest.json").write_text(json.dumps(facts))
    assert ImageStore(store.path).read("i3") == store.read("i3")
    write_manifest(store.path, facts)
    assert ImageStore(store.path).tokens() == store.tokens()


def test_the_header_of_a_tiny_file_is_named(tmp_path: Path, build):
    path = build({"a": encoded(Image.new("RGB", (4, 4), RED))}).path
    for n_bytes in (0, 19, 100, PAGE, PAGE + 100):
        content = (path / "data.mdb").read_bytes()[:n_bytes]
        (tmp_path / "cut.mdb").write_bytes(content)
        with pytest.raises(StoreError, match="copy it again or build it again"):
            PixelRecSource(tmp_path / "cut.mdb")

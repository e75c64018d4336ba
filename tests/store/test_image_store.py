"""A finished store is read the same from everywhere, and a damaged one is refused before LMDB touches it."""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from store_world import BLUE, RED, assert_colour, plain, python, shade

from recbole_pixel.store import ImageStore, StoreError, decode_image
from recbole_pixel.store.durable import write_manifest


def test_reads_what_was_put_in(build, pictures):
    store = build(pictures)
    assert len(store) == 20
    assert store.tokens() == sorted(pictures)
    for i in range(20):
        pixels = decode_image(store.read(f"i{i}"))
        assert pixels.shape == (16, 16, 3)
        assert_colour(pixels, shade(i))


def test_any_unicode_token(build):
    tokens = ["ü/ö", "a b\tc", "电影", "x" * 511, "--help"]
    store = build({token: plain(RED) for token in tokens})
    assert set(store.tokens()) == set(tokens)
    assert all(token in store for token in tokens)


def test_missing_token_names_token_and_store(build):
    store = build({"a": plain(RED)})
    for token in ("b", "", "x" * 600, "\ud800"):
        assert token not in store
        with pytest.raises(KeyError) as caught:
            store.read(token)
        assert repr(token) in str(caught.value)
        assert str(store.path) in str(caught.value)
        assert not str(caught.value).startswith('"')
    assert 3 not in store


def test_fingerprint_follows_the_content(build):
    first = build({"a": plain(RED), "b": plain(BLUE)}, "first")
    same = build({"b": plain(BLUE), "a": plain(RED)}, "same")
    swapped = build({"a": plain(BLUE), "b": plain(RED)}, "swapped")
    more = build({"a": plain(RED), "b": plain(BLUE), "c": plain(RED)}, "more")
    assert first.fingerprint == same.fingerprint
    assert len({first.fingerprint, swapped.fingerprint, more.fingerprint}) == 3


def test_a_store_is_read_by_any_name_of_its_folder(build, pictures, tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path / "images.lmdb")
    stores = [build(pictures), ImageStore(os.path.relpath(tmp_path / "images.lmdb")), ImageStore(tmp_path / "link")]
    assert len({store.read("i3") for store in stores}) == 1


def test_copies_and_pickles_carry_no_handle(build, pictures):
    store = build(pictures)
    expected = store.read("i3")
    for other in (copy.copy(store), copy.deepcopy(store), pickle.loads(pickle.dumps(store))):
        assert other.read("i3") == expected
        assert other.fingerprint == store.fingerprint


def _read_all(store: ImageStore) -> list[bytes]:
    return [store.read(token) for token in store.tokens()]


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_read_in_other_processes(build, pictures, method: str):
    store = build(pictures)
    expected = _read_all(store)
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(_read_all, [store, store]) == [expected, expected]
    assert _read_all(store) == expected


def test_parent_and_forked_child_read_through_one_handle(build, pictures):
    store = build(pictures)
    expected = _read_all(store)
    child = os.fork()
    if child == 0:
        os._exit(0 if all(_read_all(store) == expected for _ in range(20)) else 1)
    assert all(_read_all(store) == expected for _ in range(20))
    assert os.waitpid(child, 0)[1] == 0


def test_read_from_many_threads(build, pictures, tmp_path: Path):
    build(pictures)
    expected = {token: ImageStore(tmp_path / "images.lmdb").read(token) for token in pictures}

    def _work(i: int) -> bool:
        store, token = ImageStore(tmp_path / "images.lmdb"), f"i{i % 20}"  # opened and dropped by all threads at once
        return store.read(token) == expected[token]

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(_work, range(400)))


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.6, 0.999])
def test_truncated_store_is_refused_not_a_sigbus(build, pictures, tmp_path: Path, fraction: float):
    store = build(pictures)
    data = store.path / "data.mdb"
    os.truncate(data, int(data.stat().st_size * fraction))
    with pytest.raises(StoreError, match=r"its manifest promises.*build it again"):
        ImageStore(store.path)


def test_truncated_after_the_manifest_was_read_is_refused_too(build, pictures):
    path = build(pictures).path
    store = ImageStore(path)
    os.truncate(path / "data.mdb", 8192)
    with pytest.raises(StoreError, match="promises"):
        store.read("i1")


def test_truncated_with_a_forged_manifest_is_refused_by_lmdbs_own_header(build, pictures):
    """In a process of its own: the failure to be excluded is the death of the process."""
    path = build(pictures).path
    manifest = json.loads((path / "manifest.json").read_text())
    os.truncate(path / "data.mdb", manifest["file_bytes"] - 4096 * 8)
    manifest["file_bytes"] -= 4096 * 8
    del manifest["manifest_digest"]
    write_manifest(path, manifest)
    script = "import sys; from recbole_pixel.store import ImageStore; [ImageStore(sys.argv[1]).read('i1')]"
    process = python(script, path)
    errors = process.communicate()[1]
    assert process.returncode == 1
    assert "its header promises" in errors


def test_flipped_bit_in_a_picture_is_noticed(build, pictures):
    store = build(pictures)
    content = bytearray((store.path / "data.mdb").read_bytes())
    content[content.index(store.read("i7")) + 200] ^= 4
    flipped = shutil.copytree(store.path, store.path.with_name("flipped"))
    (flipped / "data.mdb").write_bytes(content)
    with pytest.raises(StoreError, match=r"'i7'.*checksum"):
        ImageStore(flipped).read("i7")
    assert ImageStore(flipped).read("i8") == store.read("i8")


def test_not_a_store(tmp_path: Path, build, pictures):
    with pytest.raises(FileNotFoundError, match="images build"):
        ImageStore(tmp_path / "absent")
    (tmp_path / "absent.partial").mkdir()
    with pytest.raises(FileNotFoundError, match="interrupted"):
        ImageStore(tmp_path / "absent")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match=r"holds no manifest\.json"):
        ImageStore(tmp_path / "folder")
    (tmp_path / "folder" / "manifest.json").write_text('{"format": "other"}')
    with pytest.raises(StoreError, match="'other'"):
        ImageStore(tmp_path / "folder")
    (tmp_path / "folder" / "manifest.json").write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        ImageStore(tmp_path / "folder")


def test_moved_store_is_the_same_store(build, pictures, tmp_path: Path):
    store = build(pictures)
    expected, fingerprint = _read_all(store), store.fingerprint
    shutil.move(store.path, tmp_path / "elsewhere")
    moved = ImageStore(tmp_path / "elsewhere")
    assert _read_all(moved) == expected
    assert moved.fingerprint == fingerprint
    assert _read_all(store) == expected, "an open store survives its move"


def test_store_built_anew_while_in_use(build, pictures):
    old = build(pictures)
    before = old.read("i3")
    unopened = ImageStore(old.path)
    new = build({"i3": plain(RED)})
    assert old.read("i3") == before
    assert new.read("i3") != before
    with pytest.raises(StoreError, match="built anew"):
        unopened.read("i3")


def test_read_only_folder(build, pictures):
    store = build(pictures)
    expected = _read_all(store)
    for path in (store.path / "data.mdb", store.path):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert _read_all(ImageStore(store.path)) == expected
        assert sorted(file.name for file in store.path.iterdir()) == ["data.mdb", "manifest.json"]
    finally:
        store.path.chmod(0o755)

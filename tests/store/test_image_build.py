"""A build ends in a whole store or leaves what the next one goes on with, whatever interrupts it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from store_world import BLUE, RED, DictSource, assert_colour, plain, python, shade

from recbole_pixel.store import FolderSource, ImageStore, build_image_store, decode_image, image_writer
from recbole_pixel.store.build_lock import BuildLock

QUICK = {"size": 16, "workers": 1, "progress": False}

SLOW_BUILD = """
import sys, time
from recbole_pixel.store import build_image_store, image_writer
from store_world import DictSource, plain, shade
image_writer.BATCH_RECORDS = int(sys.argv[2])
class Slow(DictSource):
    def fingerprint(self): return "same"
    def read(self, token):
        if token == sys.argv[3]:
            print("stuck", flush=True)
            time.sleep(60)
        time.sleep(float(sys.argv[4]))
        return super().read(token)
print("ready", flush=True)
build_image_store(Slow({f"i{i}": plain(shade(i)) for i in range(60)}), sys.argv[1], size=16, workers=1, progress=False)
"""


class Same(DictSource):
    """A source that says nothing has changed."""

    def fingerprint(self) -> str:
        return "same"


@pytest.fixture
def sixty() -> dict[str, bytes]:
    return {f"i{i}": plain(shade(i)) for i in range(60)}


def assert_right(path: Path, n: int) -> None:
    """The store has exactly the pictures `i0` to `i<n>`, each of its colour."""
    store = ImageStore(path)
    assert sorted(store.tokens()) == sorted(f"i{i}" for i in range(n))
    for i in range(n):
        assert_colour(decode_image(store.read(f"i{i}")), shade(i))


def test_second_run_does_nothing_and_says_so(tmp_path: Path, folder: Path):
    out = tmp_path / "n" / "images.lmdb"
    first = build_image_store(FolderSource(folder), out, **QUICK)
    assert (first.n_written, first.n_skipped, first.up_to_date) == (20, 0, False)
    state = [(file.name, file.stat().st_mtime_ns) for file in sorted(out.iterdir())]
    second = build_image_store(FolderSource(folder), out, **QUICK)
    assert (second.n_written, second.n_skipped, second.up_to_date) == (0, 20, True)
    assert "nothing to do" in str(second)
    assert [(file.name, file.stat().st_mtime_ns) for file in sorted(out.iterdir())] == state
    assert [path.name for path in out.parent.iterdir()] == ["images.lmdb"], "nothing is left beside the store"
    assert_right(out, 20)


def test_changed_source_is_decoded_only_where_it_differs(tmp_path: Path, folder: Path, monkeypatch):
    out = tmp_path / "images.lmdb"
    build_image_store(FolderSource(folder), out, **QUICK)
    before = ImageStore(out).fingerprint
    (folder / "i4.png").write_bytes(plain(RED))
    (folder / "new.png").write_bytes(plain(BLUE))
    (folder / "i0.png").unlink()
    decoded = []
    monkeypatch.setattr("recbole_pixel.store.build.decode_image", lambda *a: decoded.append(1) or decode_image(*a))
    report = build_image_store(FolderSource(folder), out, **QUICK)
    store = ImageStore(out)
    assert (len(decoded), report.n_written, report.n_skipped) == (2, 2, 18)
    assert_colour(decode_image(store.read("i4")), RED)
    assert_colour(decode_image(store.read("new")), BLUE)
    assert "i0" not in store
    assert len(store) == 20
    assert store.fingerprint != before


@pytest.mark.parametrize("change", [{"size": 24}, {"fit": "pad"}, {"keep_original": True}])
def test_other_settings_are_another_store(tmp_path: Path, pictures, change):
    out = tmp_path / "images.lmdb"
    build_image_store(DictSource(pictures), out, **QUICK)
    report = build_image_store(DictSource(pictures), out, **{**QUICK, **change})
    assert report.n_written == 20
    side = 32 if "keep_original" in change else change.get("size", 16)
    assert decode_image(ImageStore(out).read("i3")).shape == (side, side, 3)


def test_keep_original_keeps_the_bytes(build, pictures):
    store = build({**pictures, "bad": b"no picture"}, keep_original=True)
    assert {token: store.read(token) for token in store.tokens()} == pictures
    assert store.manifest["size"] is None


def test_bad_pictures_are_named_and_left_out(tmp_path: Path, pictures):
    bad = {"empty": b"", "html": b"<html>", "x" * 512: plain(RED), "cut": pictures["i1"][:50]}
    for _ in range(2):  # the second run, which does nothing, still names them
        report = build_image_store(DictSource({**pictures, **bad}), tmp_path / "images.lmdb", **QUICK)
        assert set(report.bad) == set(bad)
        assert all(f"{token!r}: {reason}" in str(report) for token, reason in report.bad.items())
    assert report.bad["empty"] == "empty file"
    assert "longer than 511 bytes" in report.bad["x" * 512]
    assert_right(tmp_path / "images.lmdb", 20)


def test_picture_that_could_not_be_read_is_tried_again(tmp_path: Path, pictures):
    class Flaky(Same):
        is_down = True

        def read(self, token: str) -> bytes:
            if token == "i5" and self.is_down:
                raise PermissionError("permission denied")
            return super().read(token)

    source = Flaky(pictures)
    assert build_image_store(source, tmp_path / "s", **QUICK).bad == {"i5": "permission denied"}
    source.is_down, source.was_read = False, []
    report = build_image_store(source, tmp_path / "s", **QUICK)
    assert (source.was_read, report.n_written, report.n_skipped) == (["i5"], 1, 19)
    assert_right(tmp_path / "s", 20)


def test_nothing_to_build_from(tmp_path: Path):
    with pytest.raises(ValueError, match="no pictures in dict"):
        build_image_store(DictSource({}), tmp_path / "s", **QUICK)
    with pytest.raises(ValueError, match=r"none of the 2 pictures.*a: empty file"):
        build_image_store(DictSource({"a": b"", "b": b"<html>"}), tmp_path / "s", **QUICK)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("options", [{"size": 0}, {"size": 5000}, {"fit": "stretch"}, {"workers": 0}])
def test_wrong_options(tmp_path: Path, pictures, options):
    with pytest.raises(ValueError, match="expected"):
        build_image_store(DictSource(pictures), tmp_path / "s", **{**QUICK, **options})


def test_killed_build_goes_on_where_it_was(tmp_path: Path, sixty):
    out = tmp_path / "images.lmdb"
    process = python(SLOW_BUILD, out, 5, "i40", 0)
    assert process.stdout.readline() == "ready\n"
    assert process.stdout.readline() == "stuck\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not out.exists()
    source = Same(sixty)
    report = build_image_store(source, out, **QUICK)
    assert report.n_skipped >= 25, "all batches committed before the kill"
    assert report.n_written == 60 - report.n_skipped
    assert len(source.was_read) == report.n_written, "the others are not even read"
    assert_right(out, 60)


def test_kills_at_random_points_lose_nothing(tmp_path: Path, sixty):
    out, rng = tmp_path / "images.lmdb", random.Random(0)
    skipped = 0
    for _ in range(4):
        process = python(SLOW_BUILD, out, 1, "none", 0.01)
        process.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.25))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    report = build_image_store(Same(sixty), out, **QUICK)
    skipped += report.n_skipped
    assert skipped > 0
    assert_right(out, 60)
    undisturbed = tmp_path / "undisturbed.lmdb"
    build_image_store(Same(sixty), undisturbed, **QUICK)
    assert ImageStore(out).fingerprint == ImageStore(undisturbed).fingerprint


def test_exception_keeps_what_was_done(tmp_path: Path, sixty):
    class Interrupted(Same):
        def read(self, token: str) -> bytes:
            if token == "i30":
                raise KeyboardInterrupt
            return super().read(token)

    with pytest.raises(KeyboardInterrupt):
        build_image_store(Interrupted(sixty), tmp_path / "s", **QUICK)
    report = build_image_store(Same(sixty), tmp_path / "s", **QUICK)
    assert report.n_skipped == 30
    assert_right(tmp_path / "s", 60)


def test_source_changed_during_the_interruption(tmp_path: Path, sixty):
    interrupted = python(SLOW_BUILD, tmp_path / "s", 5, "i40", 0)
    interrupted.stdout.readline(), interrupted.stdout.readline()
    time.sleep(0.3)
    interrupted.kill()
    interrupted.communicate()
    changed = {**sixty, "i3": plain(RED)}
    del changed["i1"]
    build_image_store(DictSource(changed), tmp_path / "s", **QUICK)
    store = ImageStore(tmp_path / "s")
    assert_colour(decode_image(store.read("i3")), RED)
    assert_colour(decode_image(store.read("i4")), shade(4))
    assert "i1" not in store
    assert len(store) == 59


def test_damaged_partial_is_discarded(tmp_path: Path, sixty):
    interrupted = python(SLOW_BUILD, tmp_path / "s", 5, "i40", 0)
    interrupted.stdout.readline(), interrupted.stdout.readline()
    interrupted.kill()
    interrupted.communicate()
    os.truncate(tmp_path / "s.partial" / "data.mdb", 12288)
    assert build_image_store(Same(sixty), tmp_path / "s", **QUICK).n_written == 60
    assert_right(tmp_path / "s", 60)


def test_damaged_store_is_built_anew(tmp_path: Path, pictures):
    out = tmp_path / "s"
    build_image_store(DictSource(pictures), out, **QUICK)
    os.truncate(out / "data.mdb", 8192)
    assert build_image_store(DictSource(pictures), out, **QUICK).n_written == 20
    assert_right(out, 20)


@pytest.mark.parametrize("stage", ["old aside", "both there"])
def test_cut_off_between_the_two_renames(tmp_path: Path, pictures, stage: str):
    out = tmp_path / "s"
    build_image_store(DictSource(pictures), out, **QUICK)
    if stage == "old aside":
        os.rename(out, tmp_path / "s.replaced")
        with pytest.raises(FileNotFoundError, match="interrupted"):
            ImageStore(out)
    else:
        shutil.copytree(out, tmp_path / "s.replaced")
    assert build_image_store(DictSource(pictures), out, **QUICK).up_to_date
    assert not (tmp_path / "s.replaced").exists()
    assert_right(out, 20)


def test_map_grows(tmp_path: Path, sixty, monkeypatch):
    monkeypatch.setattr(image_writer, "FIRST_MAP_BYTES", 1 << 16)
    monkeypatch.setattr(image_writer, "BATCH_RECORDS", 20)
    build_image_store(Same(sixty), tmp_path / "s", size=128, workers=1, progress=False, keep_original=False)
    assert_right(tmp_path / "s", 60)
    assert (tmp_path / "s" / "data.mdb").stat().st_size < 1 << 20, (
        "the file is as large as its contents, not as its map"
    )


def test_full_disk_is_said_and_survived(tmp_path: Path, sixty):
    """A limit on file size stands in for a full disk: both make the write fail."""
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n" + SLOW_BUILD
    process = python(limited, tmp_path / "s", 5, "none", 0)
    errors = process.communicate()[1]
    assert process.returncode == 1
    assert "OSError: cannot write" in errors
    assert "run the same build again to go on" in errors
    report = build_image_store(Same(sixty), tmp_path / "s", **QUICK)
    assert 0 < report.n_skipped < 60
    assert_right(tmp_path / "s", 60)


def test_two_builders_at_once(tmp_path: Path, pictures):
    with BuildLock(tmp_path / "s"), pytest.raises(BlockingIOError, match="another process is building"):
        build_image_store(DictSource(pictures), tmp_path / "s", **QUICK)
    assert build_image_store(DictSource(pictures), tmp_path / "s", **QUICK).n_written == 20


def test_never_replaces_what_is_not_a_store(tmp_path: Path, pictures):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("text")
    (tmp_path / "file").write_text("text")
    for name in ("precious", "file"):
        with pytest.raises(FileExistsError, match="not replaced"):
            build_image_store(DictSource(pictures), tmp_path / name, **QUICK)
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "text"


def test_many_workers_make_the_same_store(tmp_path: Path, sixty):
    fingerprints = set()
    for workers in (1, 8):
        build_image_store(Same(sixty), tmp_path / f"s{workers}", size=16, workers=workers, progress=False)
        fingerprints.add(ImageStore(tmp_path / f"s{workers}").fingerprint)
    assert len(fingerprints) == 1

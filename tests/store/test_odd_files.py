"""Folders in which not everything is a picture file: nothing hangs, nothing is followed out, each is named."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest
from store_world import RED, assert_colour, plain, shade
from wild_pictures import jpeg

from recbole_pixel.store import FileMapSource, FolderSource, ImageStore, build_image_store, decode_image, open_source

QUICK = {"size": 16, "workers": 2, "progress": False}


def test_what_is_no_file_is_named_and_nothing_hangs(tmp_path: Path):
    covers = tmp_path / "covers"
    covers.mkdir()
    (covers / "good.png").write_bytes(plain(RED))
    os.mkfifo(covers / "pipe.jpg")
    (covers / "device.jpg").symlink_to("/dev/zero")
    (covers / "dangling.jpg").symlink_to(tmp_path / "absent.jpg")
    (covers / "loop.jpg").symlink_to(covers / "loop.jpg")
    (covers / "link.jpg").symlink_to(covers / "good.png")
    (covers / "folder.jpg").mkdir()
    (covers / "folder.jpg" / "inside.png").write_bytes(plain(RED))
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.png").write_bytes(plain(RED))
    (covers / "below").symlink_to(tmp_path / "outside")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(covers / "socket.jpg"))
        report = build_image_store(FolderSource(covers), tmp_path / "s", **QUICK)
    assert report.bad["pipe"] == "a named pipe, not a file"
    assert report.bad["device"] == "a device, not a file"
    assert "No such file" in report.bad["dangling"]
    assert "Too many levels of symbolic links" in report.bad["loop"]
    assert set(report.bad) == {"pipe", "device", "dangling", "loop", "socket"}
    assert ImageStore(tmp_path / "s").tokens() == ["good", "inside", "link"]
    assert report.warnings == [
        "'below' is a link to a folder: not followed",
        "'folder.jpg' is a folder with the name of a picture",
    ]


def test_a_folder_among_named_files_is_named(tmp_path: Path):
    (tmp_path / "x.jpg").mkdir()
    with pytest.raises(ValueError, match="a: a folder, not a file"):
        build_image_store(FileMapSource({"a": tmp_path / "x.jpg"}, "by column"), tmp_path / "s", **QUICK)


def test_files_and_folders_without_permission_are_named(folder: Path, tmp_path: Path, monkeypatch):
    """The errors are put in: who runs this may be allowed to read everything."""
    plain_open, plain_scan = os.open, os.scandir

    def opened(path: object, *arguments: object, **named: object) -> int:
        if str(path).endswith("i4.png"):
            raise PermissionError(13, "Permission denied", str(path))
        return plain_open(path, *arguments, **named)

    def scanned(path: object) -> object:
        if str(path).endswith("more"):
            raise PermissionError(13, "Permission denied", str(path))
        return plain_scan(path)

    monkeypatch.setattr("recbole_pixel.store.source_folder.os.open", opened)
    monkeypatch.setattr(os, "scandir", scanned)
    report = build_image_store(FolderSource(folder), tmp_path / "s", **QUICK)
    assert "Permission denied" in report.bad["i4"]
    assert report.n_unread == 1
    assert report.warnings == [
        f"folder {str(folder / 'more')!r} cannot be listed (Permission denied): its pictures are missing"
    ]
    monkeypatch.undo()
    again = build_image_store(FolderSource(folder), tmp_path / "s", **QUICK)
    assert (len(ImageStore(tmp_path / "s")), again.bad, again.warnings) == (20, {}, [])


def test_names_of_every_kind(tmp_path: Path):
    names = ["电影", "ü", "u\u0308", "a b", "-rf", "quote'\"", "tab\t", "new\nline", "%41", "🎬", "İ", "con", "a.b"]
    for name in names:
        (tmp_path / "covers").mkdir(exist_ok=True)
        (tmp_path / "covers" / f"{name}.png").write_bytes(plain(RED))
    (tmp_path / "covers" / "UPPER.PNG").write_bytes(plain(RED))
    with open(os.fsencode(tmp_path / "covers") + b"/torn\xff.png", "wb") as stream:
        stream.write(plain(RED))
    report = build_image_store(FolderSource(tmp_path / "covers"), tmp_path / "s", **QUICK)
    assert ImageStore(tmp_path / "s").tokens() == sorted([*names, "UPPER"])
    assert list(report.bad) == ["torn\udcff"]
    assert "not Unicode" in report.bad["torn\udcff"]
    str(report).encode("utf-8")
    assert build_image_store(FolderSource(tmp_path / "covers"), tmp_path / "s", **QUICK).up_to_date


def test_of_two_files_for_an_item_one_is_taken_and_both_are_named(tmp_path: Path):
    (tmp_path / "covers").mkdir()
    (tmp_path / "covers" / "a.jpg").write_bytes(jpeg())
    (tmp_path / "covers" / "a.png").write_bytes(plain(RED))
    (tmp_path / "covers" / "a").write_bytes(plain(shade(3)))
    report = build_image_store(FolderSource(tmp_path / "covers"), tmp_path / "s", **QUICK)
    assert report.warnings == [
        "two files for item 'a': a is taken, a.jpg is not",
        "two files for item 'a': a is taken, a.png is not",
    ]
    assert_colour(decode_image(ImageStore(tmp_path / "s").read("a")), shade(3))


def test_a_suffix_says_nothing_of_what_is_in_a_file(tmp_path: Path):
    (tmp_path / "covers").mkdir()
    (tmp_path / "covers" / "a.gif").write_bytes(jpeg())
    (tmp_path / "covers" / "b.jpg").write_bytes(plain(RED))
    (tmp_path / "covers" / "c.png").write_bytes(b"%PDF-1.4")
    report = build_image_store(open_source(tmp_path / "covers"), tmp_path / "s", **QUICK)
    assert ImageStore(tmp_path / "s").tokens() == ["a", "b"]
    assert "a PDF document" in report.bad["c"]


def test_a_source_that_changes_while_it_is_read_is_told_and_compared_again(folder: Path, tmp_path: Path):
    class Changing(FolderSource):
        def read(self, token: str) -> bytes:
            data = super().read(token)
            if token == "i7":
                (folder / "i4.png").write_bytes(plain(RED, 40))
            return data

    report = build_image_store(Changing(folder), tmp_path / "s", size=16, workers=1, progress=False)
    assert "changed while it was read: run the same build again" in report.warnings[-1]
    again = build_image_store(FolderSource(folder), tmp_path / "s", **QUICK)
    assert not again.up_to_date
    assert again.warnings == []
    assert_colour(decode_image(ImageStore(tmp_path / "s").read("i4")), RED)


def test_a_source_that_vanishes_while_it_is_read_leaves_its_pictures_bad(folder: Path, tmp_path: Path):
    class Vanishing(FolderSource):
        def read(self, token: str) -> bytes:
            if token == "i8" and folder.exists():
                shutil.rmtree(folder)
            return super().read(token)

    report = build_image_store(Vanishing(folder), tmp_path / "s", size=16, workers=1, progress=False)
    assert set(report.bad) | set(ImageStore(tmp_path / "s").tokens()) == {f"i{i}" for i in range(20)}
    assert len(report.bad) > 5
    assert "changed while it was read" in report.warnings[-1]

"""Folders, archives and PixelRec's LMDB give the right bytes, and hostile ones give nothing else."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import tarfile
import zipfile
from pathlib import Path

import lmdb
import numpy as np
import pytest
from store_world import plain, shade

from recbole_pixel.store import (
    FileMapSource,
    FolderSource,
    ImageStore,
    PictureError,
    PixelRecSource,
    StoreError,
    TarSource,
    ZipSource,
    build_image_store,
    decode_image,
    open_source,
    source_archive,
)


def _zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def _tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_folder_takes_stems_and_reports_the_rest(folder: Path, pictures):
    (folder / "zz").mkdir()
    (folder / "zz" / "i3.jpg").write_bytes(b"second picture of i3")
    (folder / "readme.txt").write_text("no picture")
    (folder / ".DS_Store").write_bytes(b"")
    (folder / "bare").write_bytes(plain(shade(1)))
    source = FolderSource(folder)
    assert set(source.tokens()) == {*pictures, "bare"}
    assert {token: source.read(token) for token in pictures} == pictures
    assert source.warnings == [
        "two files for item 'i3': more/i3.png is taken, zz/i3.jpg is not",
        "2 files left out, not pictures by their names, e.g. .DS_Store, readme.txt",
    ]


def test_folder_fingerprint_sees_every_change(folder: Path):
    seen = {FolderSource(folder).fingerprint()}
    assert FolderSource(folder).fingerprint() in seen
    (folder / "i0.png").write_bytes(b"other size")
    seen.add(FolderSource(folder).fingerprint())
    os.utime(folder / "i2.png", ns=(1, 1))
    seen.add(FolderSource(folder).fingerprint())
    os.rename(folder / "i2.png", folder / "i200.png")
    seen.add(FolderSource(folder).fingerprint())
    assert len(seen) == 4


def test_file_map(folder: Path, pictures, tmp_path: Path):
    source = FileMapSource({"a": folder / "i0.png", "b": folder / "absent.png", "c": folder / "i0.png"}, "by column")
    assert source.tokens() == ["a", "b", "c"]
    assert source.read("a") == source.read("c") == pictures["i0"]
    report = build_image_store(source, tmp_path / "s", size=16, progress=False)
    assert list(report.bad) == ["b"]
    assert "absent.png" in report.bad["b"]
    assert ImageStore(tmp_path / "s").manifest["source"] == "by column"


def _archive(kind: str, tmp_path: Path, pictures: dict[str, bytes]) -> Path:
    members = {f"covers/{token}.png": data for token, data in pictures.items()}
    if kind == "zip":
        return _zip(tmp_path / "covers.zip", members)
    mode, suffix = {"tar": ("w", "tar"), "gz": ("w:gz", "tar.gz"), "bz2": ("w:bz2", "tbz"), "xz": ("w:xz", "txz")}[kind]
    return _tar(tmp_path / f"covers.{suffix}", members, mode)


@pytest.mark.parametrize("kind", ["zip", "tar", "gz", "bz2", "xz"])
@pytest.mark.parametrize("ahead", [512, 3])
def test_archives_in_any_order(kind: str, ahead: int, tmp_path: Path, pictures, monkeypatch):
    monkeypatch.setattr(source_archive, "AHEAD", ahead)
    source = open_source(_archive(kind, tmp_path, pictures))
    assert source.tokens() == list(pictures)
    shuffled = np.random.default_rng(0).permutation(list(pictures))
    assert {token: source.read(token) for token in shuffled} == pictures
    assert source.read("i0") == pictures["i0"], "a second time"


@pytest.mark.parametrize("kind", ["zip", "tar", "gz"])
def test_build_from_archive_by_many_threads(kind: str, tmp_path: Path, pictures):
    archive = _archive(kind, tmp_path, pictures)
    report = build_image_store(open_source(archive), tmp_path / "s", size=16, workers=8, progress=False)
    assert (report.n_written, report.bad) == (20, {})
    assert build_image_store(open_source(archive), tmp_path / "s", size=16, progress=False).up_to_date


@pytest.mark.parametrize("kind", ["zip", "tar", "gz"])
def test_members_that_want_out_of_the_folder_write_nothing(kind: str, tmp_path: Path):
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    members = {
        "../../escaped.png": plain(shade(1)),
        "/tmp/absolute_escape.png": plain(shade(2)),
        "ok.png": plain(shade(3)),
    }
    archive = (
        _zip(inside / "x.zip", members)
        if kind == "zip"
        else _tar(inside / "x.tar", members, "w:" + kind * (kind == "gz"))
    )
    build_image_store(open_source(archive), inside / "s", size=16, progress=False)
    assert ImageStore(inside / "s").tokens() == ["absolute_escape", "escaped", "ok"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(
        ["a", "b", archive.name, "s", "data.mdb", "manifest.json"]
    )
    assert not Path("/tmp/absolute_escape.png").exists()


def test_links_in_a_tar_are_not_followed(tmp_path: Path):
    (tmp_path / "secret.png").write_bytes(plain(shade(1)))
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, kind in (
            ("symbolic.png", tarfile.SYMTYPE),
            ("hard.png", tarfile.LNKTYPE),
            ("pipe.png", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, str(tmp_path / "secret.png")
            archive.addfile(info)
    assert TarSource(tmp_path / "x.tar").tokens() == []


def test_oversized_members_are_refused_unread(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(source_archive, "MAX_BYTES", 1000)
    members = {"bomb.png": b"\0" * 100_000, "ok.png": plain(shade(3))}
    sources = ZipSource(_zip(tmp_path / "x.zip", members)), TarSource(_tar(tmp_path / "x.tar.gz", members, "w:gz"))
    for source in sources:
        with pytest.raises(PictureError, match="100,000 bytes, more than 1,000"):
            source.read("bomb")
        assert source.read("ok") == members["ok.png"]


def test_damaged_archives(tmp_path: Path, pictures):
    for kind in ("zip", "gz"):
        archive = _archive(kind, tmp_path, pictures)
        cut = tmp_path / f"cut_{archive.name}"
        cut.write_bytes(archive.read_bytes()[:-300])
        with pytest.raises(ValueError, match="archive"):
            (ZipSource if kind == "zip" else TarSource)(cut)


def test_open_source_says_what_it_expects(tmp_path: Path, build, pictures):
    with pytest.raises(FileNotFoundError, match="expected a folder, a ZIP or TAR"):
        open_source(tmp_path / "absent")
    (tmp_path / "x.csv").write_text("a,b\n")
    with pytest.raises(ValueError, match="expected a folder, a ZIP or TAR"):
        open_source(tmp_path / "x.csv")
    with pytest.raises(ValueError, match="already an image store"):
        open_source(build(pictures).path)


class LMDB_Image:
    """As PixelRec's generate_lmdb.py has it."""

    def __init__(self, image: np.ndarray, id: str) -> None:
        self.channels, self.size, self.image, self.id = image.shape[2], image.shape[:2], image.tobytes(), id


def _pixelrec(path: Path, records: dict[str, bytes], subdir: bool = False) -> Path:
    with lmdb.open(str(path), subdir=subdir, map_size=1 << 24) as environment, environment.begin(write=True) as writing:
        for token, record in records.items():
            writing.put(token.encode(), record)
        writing.put(b"__keys__", pickle.dumps(list(records)))
        writing.put(b"__len__", pickle.dumps(len(records)))
    return path


@pytest.mark.parametrize("subdir", [False, True])
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_pixelrec_lmdb(tmp_path: Path, subdir: bool, protocol: int):
    pixels = {f"i{i}": np.random.default_rng(i).integers(0, 256, (6, 5, 3), dtype=np.uint8) for i in range(3)}
    records = {token: pickle.dumps(LMDB_Image(array, token), protocol) for token, array in pixels.items()}
    source = open_source(_pixelrec(tmp_path / "image.lmdb", records, subdir))
    assert isinstance(source, PixelRecSource)
    assert source.tokens() == ["i0", "i1", "i2"]
    for token, array in pixels.items():
        assert np.array_equal(decode_image(source.read(token)), array)


class Attack:
    """Runs a command when unpickled the ordinary way."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_malicious_pickles_are_not_run(tmp_path: Path):
    proof = tmp_path / "proof"
    command = f"touch {proof}"
    inside = LMDB_Image(np.zeros((2, 2, 3), np.uint8), "x")
    inside.size = Attack(command)
    records = {
        "plain": pickle.dumps(Attack(command)),
        "inside": pickle.dumps(inside),
        "protocol 0": pickle.dumps(Attack(command), 0),
        "eval": b'cbuiltins\neval\n(S\'open("%s", "w")\'\ntR.' % str(proof).encode(),
        "dotted": b"\x80\x04\x8c\x04main\x94\x8c\x13LMDB_Image.__init__\x94\x93\x94.",
        "huge memo": b"\x80\x02]r\xff\xff\xff\x7f.",
        "class itself": b"\x80\x02c__main__\nLMDB_Image\n.",
        "class attribute": b"\x80\x02c__main__\nLMDB_Image\nN}X\x05\x00\x00\x00imageK\x01s\x86b.",
        "other object": pickle.dumps([1, 2]),
        "noise": b"\x93" * 40,
        "empty": b"",
        "persistent": b"\x80\x02U\x01xQ.",
    }
    control = LMDB_Image(np.zeros((2, 2, 3), np.uint8), "x")
    source = PixelRecSource(_pixelrec(tmp_path / "image.lmdb", {**records, "good": pickle.dumps(control)}))
    for token in records:
        with pytest.raises(PictureError):
            source.read(token)
    assert not proof.exists()
    assert decode_image(source.read("good")).shape == (2, 2, 3)
    report = build_image_store(source, tmp_path / "s", size=8, progress=False)
    assert set(report.bad) == set(records)
    assert "os.system" in report.bad["plain"].replace("posix", "os")
    assert not proof.exists()
    pickle.loads(records["plain"])
    assert proof.exists(), "the attack itself works: it is the reader that stops it"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"size": (2, 3)}, "12 bytes for 2 x 3 x 3"),
        ({"size": (-2, -2)}, "above zero"),
        ({"channels": 4}, "1 or 3 channels"),
        ({"image": "text"}, "pixels as bytes"),
        ({"size": None}, "size of two numbers"),
    ],
)
def test_pixelrec_record_that_does_not_fit_itself(tmp_path: Path, changes, reason: str):
    picture = LMDB_Image(np.zeros((2, 2, 3), np.uint8), "x")
    vars(picture).update(changes)
    source = PixelRecSource(_pixelrec(tmp_path / "image.lmdb", {"x": pickle.dumps(picture)}))
    with pytest.raises(PictureError, match=reason):
        source.read("x")


def test_truncated_pixelrec_lmdb_is_refused(tmp_path: Path):
    records = {f"i{i}": pickle.dumps(LMDB_Image(np.zeros((90, 90, 3), np.uint8), "x")) for i in range(9)}
    path = _pixelrec(tmp_path / "image.lmdb", records)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(StoreError, match=r"its header promises.*copy it again"):
        open_source(path)


def test_pickles_of_pixelrec_need_no_more_than_the_allowed_memo():
    record = pickle.dumps(LMDB_Image(np.zeros((2, 2, 3), np.uint8), "x"), 3)
    assert max(int(argument) for opcode, argument, _ in pickletools.genops(record) if "PUT" in opcode.name) < 20

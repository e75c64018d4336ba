"""Archives, and PixelRec's LMDB, made by somebody who means harm."""

from __future__ import annotations

import gzip
import io
import pickle
import resource
import struct
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recbole_pixel.store import build_image_store, decode_image, open_source
from recbole_pixel.store.errors import PictureError
from recbole_pixel.store.pixelrec_record import picture_in

NAMES = [
    "../escaped.png", "../../../../escaped2.png", "/escaped3.png", "covers/../../escaped4.png", "C:\\escaped5.png",
    "..\\escaped6.png", "covers/inner/../../../escaped7.png", "\\\\server\\share\\escaped8.png", "./fine.png",
]  # fmt: skip


def png(colour: str = "red") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(stream, "PNG")
    return stream.getvalue()


def tar_of(path: Path, members: list[tarfile.TarInfo], data: bytes, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for member in members:
            member.size = len(data) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(data) if member.isreg() else None)
    return path


def zip_of(path: Path, names: list[str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), png())
    return path


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_members_land_nowhere_but_in_the_store(kind, tmp_path, monkeypatch):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    path = inner / f"x.{kind}"
    if kind == "zip":
        zip_of(path, NAMES)
    else:
        tar_of(path, [tarfile.TarInfo(name) for name in NAMES], png(), "w:gz" if kind == "tar.gz" else "w")
    before = files_below(tmp_path)
    report = build_image_store(open_source(path), inner / "store", size=8, progress=False)
    assert report.n_written == len(NAMES) - 1, "of a name that begins with a dot, backslash and all, no picture is made"
    made = files_below(tmp_path) - before
    assert made
    assert {name for name in made if not name.startswith("a/b/store")} == set()
    assert not Path("/escaped3.png").exists()


def test_links_and_devices_are_left_out_and_told(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(png("blue"))
    members = [tarfile.TarInfo("good.png")]
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
    for number, kind in enumerate(kinds):
        member = tarfile.TarInfo(f"evil{number}.png")
        member.type, member.linkname = kind, str(secret)
        members.append(member)
    source = open_source(tar_of(tmp_path / "x.tar", members, png()))
    assert source.tokens() == ["good"]
    assert "5 members left out, no files of their own, e.g. evil0.png, evil1.png, evil2.png" in source.warnings
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        link = zipfile.ZipInfo("evil.png")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, str(secret))
        archive.writestr("good.png", png())
    report = build_image_store(open_source(tmp_path / "x.zip"), tmp_path / "s", size=8, progress=False)
    assert (report.n_written, set(report.bad)) == (1, {"evil"}), "the link's text is read, not followed"


def test_of_members_of_one_name_the_first_counts_and_it_is_told(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.png", png("red"))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.png", png("blue"))
    source = open_source(tmp_path / "x.zip")
    assert source.tokens() == ["a"]
    assert any("two files for item 'a'" in line for line in source.warnings)
    tar = tar_of(tmp_path / "x.tar", [tarfile.TarInfo("x/a.png"), tarfile.TarInfo("y/a.png")], png())
    assert any("two files for item 'a'" in line for line in open_source(tar).warnings)


def test_a_zip_bomb_is_refused_by_what_it_claims_and_held_to_it(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("claims.png", "w", force_zip64=True) as member:
            for _ in range(300):
                member.write(bytes(1 << 20))
        archive.writestr("good.png", png())
    assert (tmp_path / "x.zip").stat().st_size < 4 << 20
    source = open_source(tmp_path / "x.zip")
    with pytest.raises(PictureError, match="314,572,800 bytes, more than"):
        source.read("claims")
    assert source.read("good") == png()


def test_a_zip_that_lies_about_sizes_gives_an_error(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("lies.png", bytes(5 << 20))
    data = bytearray((tmp_path / "x.zip").read_bytes())
    place = data.rindex(b"PK\x01\x02")
    data[place + 24 : place + 28] = struct.pack("<I", 100)  # uncompressed size in the directory
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(Exception, match=r"CRC|[Bb]ad"):
        open_source(tmp_path / "x.zip").read("lies")


def test_a_member_without_a_name_is_left_out_and_told(tmp_path):
    data = bytearray(zip_of(tmp_path / "x.zip", ["b.png", "a"]).read_bytes())
    place = data.rindex(b"PK\x01\x02")
    data[place + 28 : place + 30] = b"\0\0"  # the length of the last name, which becomes a remark
    data[place + 32 : place + 34] = b"\1\0"
    (tmp_path / "x.zip").write_bytes(data)
    source = open_source(tmp_path / "x.zip")
    assert source.tokens() == ["b"]
    assert source.warnings == ["1 members without a name left out"]


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("kind", "size", "why"),
    [
        (tarfile.REGTYPE, 1 << 40, "an archive bomb"),
        (tarfile.GNUTYPE_LONGNAME, 10 << 30, "a record of 10,737,418,240 bytes about a member"),
        (tarfile.XHDTYPE, 10 << 30, "a record of"),
        (tarfile.XGLTYPE, 2 << 20, "a record of 2,097,152"),
    ],
)  # fmt: skip
def test_a_compressed_tar_that_claims_gigabytes_is_refused_at_once(kind, size, why, tmp_path):
    path = tmp_path / "x.tar.gz"
    with gzip.open(path, "wb") as stream:
        stream.write(header("good.png", 0) + header("bomb.png", size, kind) + bytes(8 << 20))
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=why):
        open_source(path)
    assert time.perf_counter() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024, "KiB"


class LMDB_Image:
    """As PixelRec's generate_lmdb.py has it."""

    def __init__(self) -> None:
        self.channels, self.size, self.image, self.id = 3, (2, 2), bytes(12), "x"


def changed(**attributes: object) -> bytes:
    picture = LMDB_Image()
    vars(picture).update(attributes)
    return pickle.dumps(picture)


def build_of(body: bytes) -> bytes:
    """An LMDB_Image whose state is what ``body`` leaves on the stack."""
    return b"\x80\x04\x8c\x01m\x8c\x0aLMDB_Image\x93)\x81" + body + b"b."


def short(text: bytes) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text


def by_memo(n_steps: int, make: bytes) -> bytes:
    """A dictionary with a key that ``make`` builds in steps, each of what the one before has left in the memo."""
    steps = b"".join(make.replace(b"%c", bytes([step])) + b"\x94" for step in range(n_steps))
    return b"\x80\x04)\x94" + steps + b"}h%cNs." % n_steps


COLLIDING = b"".join(b"\x8a\x0a" + ((2**61 - 1) * number).to_bytes(10, "little") + b"N" for number in range(20_000))

RECORDS = {
    "a promise of 10 GB of bytes": build_of(b"}(" + short(b"image") + b"\x8e" + struct.pack("<Q", 10 << 30) + b"xu"),
    "a promise of 10 GB of text": b"\x80\x04\x8d" + struct.pack("<Q", 10 << 30) + b"x.",
    "a promise of a bytearray": b"\x80\x05\x96" + struct.pack("<Q", 10 << 30) + b"x.",
    "a frame of 10 GB": b"\x80\x04\x95" + struct.pack("<Q", 10 << 30) + b"N.",
    "a memo slot of two billion": b"\x80\x02]r\xff\xff\xff\x7f.",
    "keys that all collide": build_of(b"}(" + COLLIDING + b"u"),
    "lists within lists": b"\x80\x04" + b"](" * 100_000 + b"e" * 100_000 + b".",
    "doubling by memo": b"\x80\x04]\x94" + b"".join(b"](h%ch%ce\x94" % (n, n) for n in range(200)) + b".",
    "a key that doubles by DUP": b"\x80\x04})" + b"2\x86" * 30 + b"Ns.",
    "a key that doubles by memo": by_memo(30, b"h%ch%c\x86"),
    "a key of many by memo": by_memo(5, b"(" + b"h%c" * 90 + b"t"),
    "a frozen set": by_memo(9, b"(h%c\x91"),
    "a number of megabytes": build_of(
        b"}(" + short(b"size") + b"\x8b" + struct.pack("<i", 4 << 20) + b"\x7f" * (4 << 20) + b"u"
    ),
    "numpy's reconstruct": pickle.dumps(np.zeros((2, 2, 3), np.uint8)),
    "an array of a huge shape": b"\x80\x04\x8c\x05numpy\x8c\x05zeros\x93J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86\x85R.",
    "getattr": b"\x80\x04\x8c\x08builtins\x8c\x07getattr\x93\x8c\x02os\x8c\x06system\x86R.",
    "operator.attrgetter": b"\x80\x04\x8c\x08operator\x8c\x0aattrgetter\x93\x8c\x06system\x85R.",
    "a dotted name": b"\x80\x04\x8c\x04main\x8c\x13LMDB_Image.__init__\x93.",
    "a name that ends alike": b"\x80\x04\x8c\x02os\x8c\x12system;LMDB_Image\x93.",
    "an instance through REDUCE": b"\x80\x04\x8c\x02os\x8c\x0aLMDB_Image\x93\x8c\x04true\x85R.",
    "INST of protocol 0": b"(S'true'\nios\nsystem\n.",
    "OBJ of protocol 1": b"(cos\nsystem\nS'true'\no.",
    "an extension code": b"\x80\x02\x82\x01.",
    "a persistent reference": b"\x80\x02U\x01xQ.",
    "the class itself": b"\x80\x02c__main__\nLMDB_Image\n.",
    "a next buffer": b"\x80\x05\x97.",
    "nothing": b"",
    "no end": pickle.dumps(LMDB_Image())[:-1],
    "another object": pickle.dumps({"image": b"", "size": (0, 0), "channels": 3}),
    "a height of a class": changed(size=(True, 4)),
    "numbers beyond reason": changed(size=(2**200, 2**200)),
    "a negative number": changed(size=(-2, -2)),
    "pixels of another count": changed(size=(3, 2)),
    "more pixels than a bomb": changed(size=(30_000, 30_000)),
    "channels of a list": changed(channels=[3]),
    "pixels of text": changed(image="x" * 12),
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDS)
def test_records_of_pixelrec_are_pictures_or_refused(name):
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PictureError) as said:
        picture_in(RECORDS[name])
    assert time.perf_counter() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024, "KiB"
    assert len(str(said.value)) < 500
    assert str(said.value).isprintable()


def test_instructions_that_pixelrec_has_not_are_named():
    with pytest.raises(PictureError, match=r"the instruction DUP, which PixelRec's has not: refused"):
        picture_in(RECORDS["a key that doubles by DUP"])
    with pytest.raises(PictureError, match=r"more than 4 tuples, PixelRec's makes one: refused"):
        picture_in(RECORDS["a key that doubles by memo"])


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"size": [2, 2]},
        {"id": None},
        {"id": 7},
        {"id": 2**40},
        {"id": 0.5},
        {"id": "x" * 300},
        {"id": "image"},
        {"size": (300, 90), "image": bytes(81_000)},
        {"size": (1, 70_000), "image": bytes(210_000)},
    ],
)
def test_sound_records_are_pictures(attributes, protocol):
    picture = LMDB_Image()
    vars(picture).update(attributes)
    pixels = decode_image(picture_in(pickle.dumps(picture, protocol)))
    assert pixels.shape == (*picture.size, 3)
    assert not pixels.any()


def test_what_a_record_asks_for_is_named_without_terminal_codes():
    evil = "\x1b[2J" * 1000
    with pytest.raises(PictureError, match=r"its pickle asks for 'm\.") as said:
        picture_in(b"\x80\x04\x8c\x01mX" + struct.pack("<I", len(evil)) + evil.encode() + b"\x93.")
    assert "\x1b" not in str(said.value)

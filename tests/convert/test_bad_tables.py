"""Tables as people have them, by name: each is read right, to the row, or refused with what to do; losses are told."""

from __future__ import annotations

import gzip
import io
import os
import tempfile
from pathlib import Path

import polars as pl
import pytest

HEADER = "user_id:token\titem_id:token\ttimestamp:float\n"
TABLE = "u,i,t\na,1,5\nb,2,6\n"
BOTH = ["a\t1\t5", "b\t2\t6"]
ALL_KEPT = "rows dropped: 0 of 2"
ONLY_B = ["b\t2\t6"]
LONG = "".join(f"u{n % 77},i{n * 7919 % 999},{n}\n" for n in range(5000))
PACKED = gzip.compress(f"u,i,t\n{LONG}".encode())


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]


def parquet(**columns: object) -> bytes:
    stream = io.BytesIO()
    pl.DataFrame(columns).write_parquet(stream)
    return stream.getvalue()


READ: dict[str, tuple[str | bytes, list[str], str]] = {
    "byte order mark": ("\ufeff" + TABLE, BOTH, ALL_KEPT),
    "crlf": (TABLE.replace("\n", "\r\n"), BOTH, ALL_KEPT),
    "mixed line ends": ("u,i,t\r\na,1,5\nb,2,6\r\n", BOTH, ALL_KEPT),
    "no line end at the end": (TABLE[:-1], BOTH, ALL_KEPT),
    "blanks in the header": (" u , i , t \na,1,5\nb,2,6\n", BOTH, ALL_KEPT),
    "quoted header": ('"u","i","t"\na,1,5\nb,2,6\n', BOTH, ALL_KEPT),
    "quoted cells": ('u,i,t\n"a","1","5"\n"b","2",6\n', BOTH, ALL_KEPT),
    "a separator in quotes": ('u,i,t\n"a,x",1,5\nb,2,6\n', ["a,x\t1\t5", "b\t2\t6"], ALL_KEPT),
    "a repeated column that nobody wants": ("u,x,x,i,t\na,8,9,1,5\nb,8,9,2,6\n", BOTH, ALL_KEPT),
    "columns without a name": ("u,,i,,t\na,8,1,9,5\nb,8,2,9,6\n", BOTH, ALL_KEPT),
    "a line of five million characters": (f"u,i,t,x\na,1,5,{'z' * 5_000_000}\nb,2,6,y\n", BOTH, ALL_KEPT),
    "gzip without its suffix": (gzip.compress(TABLE.encode()), BOTH, ALL_KEPT),
    "gzip in two members": (gzip.compress(b"u,i,t\na,1,5\n") + gzip.compress(b"b,2,6\n"), BOTH, ALL_KEPT),
    "blank lines": ("u,i,t\n\na,1,5\n\nb,2,6\n\n", BOTH, "rows dropped: 3 of 5 (missing user: 3)"),
    "a row too short": ("u,i,t\na,1\nb,2,6\n", ONLY_B, "1 of 2 (missing time: 1)"),
    "a tab in an ID": ("u,i,t\na\tx,1,5\nb,2,6\n", ONLY_B, "1 of 2 (tab or line break in an ID: 1)"),
    "a line break in an ID": ('u,i,t\n"a\nx",1,5\nb,2,6\n', ONLY_B, "1 of 2 (tab or line break in an ID: 1)"),
    "a carriage return in an ID": ("u,i,t\na\rx,1,5\nb,2,6\n", ONLY_B, "1 of 2 (tab or line break in an ID: 1)"),
    "a zero byte in an ID": ("u,i,t\na\0x,1,5\nb,2,6\n", ONLY_B, "1 of 2 (tab or line break in an ID: 1)"),
    "an ID of a million characters": (
        f"u,i,t\n{'a' * 1_000_000},1,5\nb,2,6\n",
        ONLY_B,
        "1 of 2 (ID of more than 511 bytes: 1)",
    ),
    "the ID of the padding": (
        "u,i,t\na,[PAD],5\n[PAD],1,5\nb,2,6\n",
        ONLY_B,
        "2 of 3 (ID that is [PAD], which RecBole pads with: 2)",
    ),
    "an ID as long as a picture's key": (f"u,i,t\n{'ü' * 255}z,1,5\n", [f"{'ü' * 255}z\t1\t5"], "0 of 1"),
    "empty and missing IDs": (
        "u,i,t\nnan,1,5\n,2,6\nNone,3,7\na,NA,5\nb,2,6\n",
        ONLY_B,
        "4 of 5 (missing item: 1, missing user: 3)",
    ),
    "nan and infinite times": (
        "u,i,t\na,1,nan\nb,2,inf\nc,3,-inf\nb,2,6\n",
        ONLY_B,
        "3 of 4 (missing time: 1, unparsable time: 2)",
    ),
    "emoji, right to left, combining": (
        "u,i,t\n😀,مرحبا,5\né,e\u0301,6\nb,\u202eabc,7\n",
        ["b\t\u202eabc\t7", "é\te\u0301\t6", "😀\tمرحبا\t5"],
        "0 of 3",
    ),
    "separators of Unicode": (
        "u,i,t\na\x85x,1,5\nb\u2028x,2,6\n",
        ["a\x85x\t1\t5", "b\u2028x\t2\t6"],
        ALL_KEPT,
    ),
    "blanks around IDs": (
        "u,i,t\na, 1,5\na,1,6\n",
        ["a\t 1\t5", "a\t1\t6"],
        "1 items are spelt as others are but for blanks or .0, e.g. ' 1' and '1'",
    ),
    "leading zeros": ("u,i,t\n007,01,5\n7,1,6\n", ["007\t01\t5", "7\t1\t6"], ALL_KEPT),
    "item IDs as floats": (
        "u,i,t\na,1,5\na,1.0,6\na,x,7\n",
        ["a\t1\t5", "a\t1.0\t6", "a\tx\t7"],
        "1 items are spelt as others are but for blanks or .0, e.g. '1.0' and '1'",
    ),
    "huge and negative IDs": (
        "u,i,t\n123456789012345678901234567890,18446744073709551616,5\n-1,-2,6\n",
        ["-1\t-2\t6", "123456789012345678901234567890\t18446744073709551616\t5"],
        ALL_KEPT,
    ),
    "negative and zero times": ("u,i,t\na,3,5\na,2,0\na,1,-5\n", ["a\t1\t-5", "a\t2\t0", "a\t3\t5"], "0 of 3"),
    "milliseconds": (
        "u,i,t\na,1,1654041600123\na,2,1654041600122\n",
        ["a\t2\t1654041600122", "a\t1\t1654041600123"],
        "2022-06-01 to 2022-06-01, if its numbers are milliseconds since 1970",
    ),
    "microseconds": (
        "u,i,t\na,1,1654041600123456\na,2,1654041600123455\n",
        ["a\t2\t1654041600123455", "a\t1\t1654041600123456"],
        "if its numbers are microseconds",
    ),
    "nanoseconds": (
        "u,i,t\na,1,1654041600123456789\na,2,1654041600123456788\n",
        ["a\t2\t1654041600123456788", "a\t1\t1654041600123456789"],
        "if its numbers are nanoseconds",
    ),
    "seconds and milliseconds": (
        "u,i,t\na,1,1654041600\na,2,1654041600123\n",
        ["a\t1\t1654041600", "a\t2\t1654041600123"],
        "as if seconds and milliseconds since 1970 were mixed",
    ),
    "times beyond any clock": (
        "u,i,t\na,1,99999999999999999999\na,2,1e400\nb,2,6\n",
        ONLY_B,
        "2 of 3 (unparsable time: 2)",
    ),
    "decimal commas, underscores, hexadecimals": (
        'u,i,t\na,1,"1,5"\na,2,1_000\na,3,0x10\nb,2,6\n',
        ONLY_B,
        "3 of 4 (unparsable time: 3)",
    ),
    "numbers among dates": (
        "u,i,t\na,1,2021-06-01\na,4,2021-06-02\na,2,5\n",
        ["a\t1\t1622505600", "a\t4\t1622592000"],
        "1 of 3 (unparsable time: 1)",
    ),
    "words among numbers": ("u,i,t\na,1,soon\na,2,later\nb,2,6\n", ONLY_B, "2 of 3 (unparsable time: 2)"),
    "rows that repeat": ("u,i,t\na,1,5\na,1,5\na,1,6\n", ["a\t1\t5", "a\t1\t6"], "1 of 3 (exact duplicate: 1)"),
    "one interaction": ("u,i,t\na,1,5\n", ["a\t1\t5"], "1 users, 1 items, 1 interactions"),
}

UTF_8 = "expected UTF-8; convert it: iconv -f"
LATIN = "if it is Latin-1, convert it: iconv -f latin1"
QUOTES = "--quote none reads quotes as ordinary text"
DOWNLOAD = "download it again"
REFUSED: dict[str, tuple[str, bytes, tuple[str, ...]]] = {
    "nothing": ("log.csv", b"", ("log.csv is empty; expected a header line and rows",)),
    "only a byte order mark": ("log.csv", b"\xef\xbb\xbf", ("log.csv is empty",)),
    "only blank lines": ("log.csv", b"\n\n", ("begins with a blank line; expected a header line",)),
    "only a header": ("log.csv", b"u,i,t\n", ("log.csv holds no rows; expected interactions",)),
    "a blank line first": ("log.csv", b"\nu,i,t\na,1,5\n", ("line 1 is blank, expected the names",)),
    "a comment first": ("log.csv", b"# by me\nu,i,t\na,1,5\n", ("line 2 has 3 cells, and the header 1",)),
    "no header": ("log.csv", b"a,1,5\nb,2,6\n", ("no column 'u'", "name its columns: --header A,B,...")),
    "other columns": ("log.csv", b"U,item,when\na,1,5\n", ("no column 'u'; the nearest is 'U'",)),
    "a wanted column twice": ("log.csv", b"u,i,i,t\na,1,2,5\n", ("2 columns named 'i'; rename all but one",)),
    "twice but for blanks": ("log.csv", b"u,u ,i,t\na,b,1,5\n", ("2 columns named 'u'",)),
    "semicolons": ("log.csv", b"u;i;t\na;1;5\n", ("cells seem to be parted by ';': --separator ';'",)),
    "tabs in a csv": ("log.csv", b"u\ti\tt\na\t1\t5\n", (r"parted by '\t': --separator tab",)),
    "commas in a tsv": ("log.tsv", b"u,i,t\na,1,5\n", ("parted by ',': --separator ','",)),
    "a row too long": ("log.csv", b"u,i,t\na,1,5\nb,2,6,7\n", ("line 3 has 4 cells, and the header 3", "--separator")),
    "a row too long far down": ("log.csv", b"u,i,t\n" + b"a,1,5\n" * 2000 + b"b,2,6,7\n", ("line 2002 has 4 cells",)),
    "a quote that opens": ("log.csv", b'u,i,t\n"a,1,5\nb,2,6\n', ("line 2 opens a quote that is never closed", QUOTES)),
    "a quote within a cell": ("log.csv", b'u,i,t\na,1,5\nb"x,2,6\n', ("line 3 has an unpaired quote: 'b\"x", QUOTES)),
    "text behind a quote": ("log.csv", b'u,i,t\n"a"x,1,5\nb,2,6\n', ("line 2 has text behind a closing quote", QUOTES)),
    "latin-1": ("log.csv", b"u,i,t\na,1,5\nb\xe9,2,6\n", ("line 3 is not UTF-8 text: byte 2 is 0xe9", LATIN)),
    "latin-1 in the header": ("log.csv", b"u,i,t,n\xe9\na,1,5,x\n", ("line 1 is not UTF-8 text: byte 8", LATIN)),
    "latin-1 where nobody looks": ("log.csv", b"u,i,t,x\na,1,5,\xe9\n", ("line 2 is not UTF-8 text", LATIN)),
    "half a character": ("log.csv", b"u,i,t\na,1,5\nb\xe2\x82", ("line 3 is not UTF-8 text: byte 2 is 0xe2",)),
    "half a surrogate pair": ("log.csv", b"u,i,t\n\xed\xa0\xbd,1,5\n", ("line 2 is not UTF-8 text",)),
    "utf-16": ("log.csv", TABLE.encode("utf-16"), ("it is UTF-16 text", UTF_8, "-f utf-16 ")),
    "utf-16 without a mark": ("log.csv", TABLE.encode("utf-16-be"), ("it is UTF-16 text", UTF_8, "-f utf-16be ")),
    "utf-32": ("log.csv", TABLE.encode("utf-32"), ("it is UTF-32 text", UTF_8)),
    "lone carriage returns": (
        "log.csv",
        TABLE.replace("\n", "\r").encode(),
        ("lone carriage returns", "convert it: tr"),
    ),
    "a web page": ("log.csv", b"<!DOCTYPE html>\n<html><body>404</body></html>\n", ("it is a web page",)),
    "an Excel file": ("log.csv", b"PK\x03\x04\x14\x00\x06\x00" + bytes(99), ("a ZIP archive", "export it as CSV")),
    "a picture": ("log.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), ("it is a picture",)),
    "a pickle": ("log.csv", b"\x80\x04\x95\x00.", ("a Python pickle, which is never opened",)),
    "a Parquet file named csv": ("log.csv", parquet(u=["a"], i=["1"], t=[5]), ("it is a Parquet file",)),
    "json": ("log.csv", b'{"u":1,"i":2,"t":3}\n', ("line 1 has text behind a closing quote",)),
    "American dates": ("log.csv", b"u,i,t\na,1,06/01/2021\n", ("'06/01/2021' is neither a number nor a date such as",)),
    "only infinite times": ("log.csv", b"u,i,t\na,1,inf\nb,2,-inf\n", ("no usable row among 2", "'inf' is neither")),
    "gzip cut short": (
        "log.csv.gz",
        PACKED[: len(PACKED) // 2],
        ("compressed data are damaged about line 2", DOWNLOAD),
    ),
    "gzip without its end": ("log.csv.gz", PACKED[:-4], ("data are damaged about line 5002", DOWNLOAD)),
    "gzip with a wrong sum": ("log.csv.gz", PACKED[:-8] + b"12345678", ("CRC check failed", DOWNLOAD)),
    "gzip with a flipped bit": ("log.csv.gz", flipped(PACKED, len(PACKED) // 2), ("data are damaged", DOWNLOAD)),
    "gzip with more behind it": ("log.csv.gz", PACKED + b"garbage", ("data are damaged", DOWNLOAD)),
    "gzip of nothing": ("log.csv.gz", gzip.compress(b""), ("log.csv.gz is empty",)),
    "csv named parquet": ("log.parquet", TABLE.encode(), ("log.parquet cannot be read", "write or download it again")),
    "parquet cut short": ("log.parquet", parquet(u=["a"], i=["1"], t=[5])[:-30], ("log.parquet cannot be read",)),
    "parquet of bytes": ("log.parquet", parquet(u=[b"a"], i=["1"], t=[5]), ("column 'u' of log.parquet holds Binary",)),
    "parquet of nested lists": ("log.parquet", parquet(u=[[["a"]]], i=["1"], t=[5]), ("column 'u'", "holds List(List")),
}


@pytest.fixture
def table(convert):
    """Runs `convert table` on a file of the columns u, i and t."""
    return lambda name, *more: convert(
        "table", "--interactions", name, "--user", "u", "--item", "i", "--time", "t", *more, "--name", "x"
    )


@pytest.mark.parametrize(("content", "rows", "told"), READ.values(), ids=READ)
def test_an_odd_table_is_read_to_the_row(table, tmp_path: Path, capsys, content, rows, told) -> None:
    (tmp_path / "log.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert table("log.csv") == 0
    written = (tmp_path / "dataset_atomic" / "x" / "x.inter").read_bytes().decode()
    assert written == HEADER + "".join(f"{row}\n" for row in rows)
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(("name", "content", "messages"), REFUSED.values(), ids=REFUSED)
def test_a_broken_table_is_refused_with_what_to_do(table, tmp_path: Path, capsys, name, content, messages) -> None:
    (tmp_path / name).write_bytes(content)
    assert table(name) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert [part for part in (name, *messages) if part not in error] == []
    assert not (tmp_path / "dataset_atomic" / "x").exists()


def test_a_header_with_other_names_than_cells(table, tmp_path: Path, capsys) -> None:
    (tmp_path / "log.csv").write_text("a,1,5\n")
    assert table("log.csv", "--header", "u,i,t,r") == 2
    assert "log.csv, line 1: 3 cells, and 4 names for them: u, i, t, r" in capsys.readouterr().err


def test_what_is_no_file_is_said(table, tmp_path: Path, capsys) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "link.csv").symlink_to("nowhere.csv")
    for name, message in [("folder.csv", "a folder is at"), ("link.csv", "no file"), ("absent.csv", "no file")]:
        assert table(name) == 2
        assert f"{message} {name}; expected a CSV, TSV or Parquet table" in capsys.readouterr().err


@pytest.fixture
def public(monkeypatch):
    """A folder that other users may enter and write into, unlike pytest's; the working folder meanwhile."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        monkeypatch.chdir(name)
        yield Path(name)
        monkeypatch.undo()


def test_a_file_that_may_not_be_read_is_named(table, public: Path, capsys) -> None:
    (public / "log.csv").write_text(TABLE)
    (public / "log.csv").chmod(0)
    is_root = os.geteuid() == 0
    if is_root:  # who may read everything
        os.seteuid(65534)
    try:
        assert table(public / "log.csv", "--out", public / "out") == 2
    finally:
        if is_root:
            os.seteuid(0)
    error = capsys.readouterr().err
    assert "ermission denied" in error
    assert "log.csv" in error


def test_a_full_disk_is_named_and_leaves_what_was_there(table, tmp_path: Path, capsys) -> None:
    resource = pytest.importorskip("resource", reason="files cannot be limited here")
    (tmp_path / "log.csv").write_text(TABLE)
    assert table("log.csv") == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "dataset_atomic" / "x").iterdir()}
    (tmp_path / "log.csv").write_text(f"u,i,t\n{LONG}")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        assert table("log.csv") == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "dataset_atomic/x cannot be written, nothing in it was changed" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (tmp_path / "dataset_atomic" / "x").iterdir()} == before

"""Files that are odd or broken, and what the reader says about them."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from recbole_pixel.convert import SourceTable


def test_a_missing_column_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("UserID,item,time\n1,2,3\n")
    with pytest.raises(
        LookupError, match=r"no column 'user_id'; the nearest is 'UserID' \(its columns: UserID, item, time\)"
    ):
        SourceTable(tmp_path / "log.csv").text("user_id", "item")


def test_a_repeated_column_is_refused_only_if_it_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("a,b,a,c\n1,2,3,4\n")
    table = SourceTable(tmp_path / "log.csv")
    assert table.text("c", "b").collect().rows() == [("4", "2")]
    with pytest.raises(LookupError, match="2 columns named 'a'"):
        table.text("a")


def test_an_absent_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*log\.csv"):
        SourceTable(tmp_path / "log.csv").columns()


def test_a_byte_order_mark_gzip_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress("\ufeffa,b\r\n1,2\r\n".encode()))
    assert SourceTable(tmp_path / "log.csv.gz").text("a", "b").collect().rows() == [("1", "2")]


def test_a_file_without_header(tmp_path: Path) -> None:
    (tmp_path / "u.data").write_text("196\t242\t3\n186\t302\t3\n")
    table = SourceTable(tmp_path / "u.data", "\t", ("user", "item", "rating"))
    assert table.text("item", "user").collect().rows() == [("242", "196"), ("302", "186")]


def test_quotes_can_be_ordinary_text(tmp_path: Path) -> None:
    (tmp_path / "items.tsv").write_text('a\tb\n1\t"Open title\n2\tother\n')
    assert SourceTable(tmp_path / "items.tsv", quote=None).text("b").collect().rows() == [('"Open title',), ("other",)]


def test_parquet_lists_become_words_and_bytes_are_refused(tmp_path: Path) -> None:
    pl.DataFrame({"a": [["x", "y"], ["z"]], "b": [b"1", b"2"]}).write_parquet(tmp_path / "t.parquet")
    table = SourceTable(tmp_path / "t.parquet")
    assert table.text("a").collect().rows() == [("x y",), ("z",)]
    with pytest.raises(ValueError, match=r"'b' of .*t\.parquet holds Binary"):
        table.text("b")

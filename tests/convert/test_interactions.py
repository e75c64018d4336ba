"""Interactions: dropped, sorted and written to exact text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recbole_pixel.convert import InteractionColumns, RowRules, SourceTable
from recbole_pixel.convert.interactions import Interactions, write_interactions

HEADER = "user_id:token\titem_id:token\ttimestamp:float\n"
COLUMNS = InteractionColumns("u", "i", "t")


def written(folder: Path, text: str, columns: InteractionColumns = COLUMNS, **options) -> tuple[str, Interactions]:
    source = folder / "log.csv"
    source.write_text(text, encoding="utf-8")
    result = write_interactions(SourceTable(source), columns, folder / "out.inter", **options)
    return (folder / "out.inter").read_text(encoding="utf-8"), result


def test_each_dropped_row_is_counted_once_under_its_first_reason(tmp_path: Path) -> None:
    text, result = written(
        tmp_path,
        "u,i,t\n"
        ",a,1\n"  # no user
        "NaN,,1\n"  # no user, no item either
        "x,null,1\n"  # pandas would read this item as missing, and RecBole remove it
        "x,a,\n"
        "x,a,NA\n"
        "x,a,soon\n"
        "x,a,inf\n"
        'x,"a\tb",3\n'
        "x,a,2\n"
        "x,a,2\n"
        "x,b,2\n"
        "x,a,2\n"
        "x,a,3\n",
    )
    assert text == HEADER + "x\ta\t2\nx\tb\t2\nx\ta\t3\n"
    assert result.dropped == {
        "missing user": 2,
        "missing item": 1,
        "missing time": 2,
        "unparsable time": 2,
        "tab or line break in an ID": 1,
        "exact duplicate": 2,
    }
    assert (result.n_read, result.n_rows, result.n_users, result.items.to_list()) == (13, 3, 1, ["a", "b"])


def test_duplicates_are_kept_if_asked_for(tmp_path: Path) -> None:
    text, result = written(tmp_path, "u,i,t\nx,a,2\nx,b,2\nx,a,2\n", rules=RowRules(keep_duplicates=True))
    assert text == HEADER + "x\ta\t2\nx\tb\t2\nx\ta\t2\n"
    assert result.dropped == {}


def test_neighbours_in_float32_and_float64_keep_their_order(tmp_path: Path) -> None:
    seconds = 1_650_000_001  # float32 knows multiples of 128 here
    text, _ = written(tmp_path, f"u,i,t\nx,c,{seconds + 2}\nx,a,{seconds}\nx,b,{seconds + 1}\n")
    assert text == HEADER + f"x\ta\t{seconds}\nx\tb\t{seconds + 1}\nx\tc\t{seconds + 2}\n"
    large = 2**53  # and float64 multiples of 2
    text, _ = written(tmp_path, f"u,i,t\nx,b,{large + 1}\nx,a,{large}\n")
    assert text == HEADER + f"x\ta\t{large}\nx\tb\t{large + 1}\n"


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (["1654041600123", "1654041600122"], ["1654041600122", "1654041600123"]),
        (["881250949.0", "8.8e8", "7"], ["7", "880000000", "881250949"]),
        (["2.5", "10", "1.25"], ["1.25", "2.5", "10.0"]),
        ([" 30 ", "-4"], ["-4", "30"]),
        (["2021-06-01 00:00:01", "2021-06-01"], ["1622505600", "1622505601"]),
        (["2021-06-01T00:00:00Z", "2021-06-01T01:00:00+02:00"], ["1622502000", "1622505600"]),
        (["2021/06/01 00:00:00.5", "2021-06-01 00:00"], ["1622505600.0", "1622505600.5"]),
    ],
    ids=["milliseconds", "whole numbers as floats", "decimals", "blanks and signs", "dates", "offsets", "fractions"],
)
def test_times_of_every_kind(tmp_path: Path, times: list[str], expected: list[str]) -> None:
    text, result = written(tmp_path, "u,i,t\n" + "".join(f"x,i{time.strip()},{time}\n" for time in times))
    assert [line.split("\t")[2] for line in text.splitlines()[1:]] == expected
    assert not result.dropped


def test_without_a_time_the_file_order_is_the_time_and_repeats_stay(tmp_path: Path) -> None:
    text, _ = written(tmp_path, "u,i\ny,a\nx,b\nx,a\nx,a\n", InteractionColumns("u", "i"))
    assert text == HEADER + "x\tb\t1\nx\ta\t2\nx\ta\t3\ny\ta\t0\n"


def test_ratings_are_kept_as_written_and_bad_ones_dropped(tmp_path: Path) -> None:
    columns = InteractionColumns("u", "i", "t", "r")
    text, result = written(tmp_path, "u,i,t,r\nx,a,1,4\nx,b,2,3.5\nx,c,3,good\nx,d,4,\nx,a,1,5\n", columns)
    assert text == HEADER[:-1] + "\trating:float\nx\ta\t1\t4\nx\ta\t1\t5\nx\tb\t2\t3.5\n"
    assert result.dropped == {"unparsable rating": 1, "missing rating": 1}


def test_ids_are_text(tmp_path: Path) -> None:
    text, result = written(tmp_path, 'u,i,t\n007,Ünïcode 🎬,1\n7,12345678901234567890,1\n7,"a ""b""",2\n')
    assert text == HEADER + '007\tÜnïcode 🎬\t1\n7\t12345678901234567890\t1\n7\t"a ""b"""\t2\n'
    assert result.n_users == 2


def test_windows_make_no_difference(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    users, items, times = rng.integers(0, 40, 3000), rng.integers(0, 50, 3000), rng.integers(0, 30, 3000)
    rows = [f"u{u},i{i},{t}" for u, i, t in zip(users, items, times, strict=True)]
    rows[::100] = [",i1,5"] * 30
    source = "u,i,t\n" + "\n".join(rows) + "\n"

    whole, one = written(tmp_path, source)
    parts, many = written(tmp_path, source, rows_per_pass=200)

    assert whole == parts
    assert (one.dropped, one.n_rows, one.n_users, one.times) == (many.dropped, many.n_rows, many.n_users, many.times)
    assert one.items.equals(many.items)
    expected = sorted(
        dict.fromkeys(row for row in rows if row[0] != ","), key=lambda row: (row.split(",")[0], int(row.split(",")[2]))
    )  # sorted() is stable, and dict keeps the first of equal rows
    assert whole == HEADER + "".join(row.replace(",", "\t") + "\n" for row in expected)


def test_parquet_and_tsv_give_the_same_text_as_csv(tmp_path: Path) -> None:
    frame = pl.DataFrame({"u": [2, 1, 1], "i": ["b", "a", "c"], "t": [5, 9, 3]})
    frame.write_csv(tmp_path / "log.csv")
    frame.write_csv(tmp_path / "log.tsv", separator="\t")
    frame.with_columns(pl.col("u").cast(pl.Float64)).write_parquet(tmp_path / "log.parquet")
    for suffix in ("csv", "tsv", "parquet"):
        write_interactions(SourceTable(tmp_path / f"log.{suffix}"), COLUMNS, tmp_path / "out.inter")
        assert (tmp_path / "out.inter").read_text() == HEADER + "1\tc\t3\n1\ta\t9\n2\tb\t5\n", suffix


def test_parquet_dates(tmp_path: Path) -> None:
    times = pl.Series(["2021-06-01 02:00:01", "2021-06-01 02:00:00"]).str.to_datetime()
    frame = pl.DataFrame({"u": ["x", "x"], "i": ["b", "a"], "t": times.dt.replace_time_zone("Europe/Berlin")})
    frame.write_parquet(tmp_path / "log.parquet")
    write_interactions(SourceTable(tmp_path / "log.parquet"), COLUMNS, tmp_path / "out.inter")
    assert (tmp_path / "out.inter").read_text() == HEADER + "x\ta\t1622505600\nx\tb\t1622505601\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("u,i,t\n", r"log\.csv holds no rows; expected interactions"),
        ("u,i,t\n,a,1\nx,a,\n", "no usable row among 2; dropped: {'missing user': 1, 'missing time': 1}"),
    ],
)
def test_nothing_usable_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        written(tmp_path, text)

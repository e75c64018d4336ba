"""Any table of IDs, times and titles, converted and loaded by RecBole and by us: the interactions that it held."""

from __future__ import annotations

import csv
import gzip
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from examples import tried
from hypothesis import example, given
from hypothesis import strategies as st
from recbole.data.dataset import Dataset
from worlds import write_inter

from recbole_pixel.config import make_config
from recbole_pixel.convert import InteractionColumns, ItemColumn, ItemSource, Options, Source, SourceTable, convert
from recbole_pixel.data.fast_loading import FastLoading
from recbole_pixel.data.item_text import item_texts
from recbole_pixel.missing_words import MISSING_WORDS

ODD = ["NaN", "None", "null", "007", "7", "7.0", '"', '"a', 'a"', "a\tb", "a\nb", "\r", " ", "", "#", "\\", "\\N", "-1"]
ODD += [
    "1e5",
    "é",
    "e\u0301",
    "😀",
    "\u202eb",
    "a\u2028b",
    "a\x85b",
    "\ufeffx",
    "x" * 512,
    "0x1",
    ",",
    ";",
    "'",
    "[PAD]",
]
UNWRITABLE = "" if sys.version_info >= (3, 11) else "\0"
LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters=UNWRITABLE)
TEXT = st.one_of(st.sampled_from(ODD), st.text(LETTERS, max_size=6))
"""Cells of all kinds; half a surrogate pair cannot be written, nor, by Python 3.10's csv, a zero byte."""

WHOLE = st.integers(0, 3) | st.integers(-(2**53), 2**53)
ROWS = st.lists(TEXT, min_size=1, max_size=4).flatmap(
    lambda names: st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names), WHOLE), min_size=1, max_size=14)
)
"""Interactions of few users and items, so that they and their times repeat."""

DECIMAL = st.floats(-1e15, 1e15, allow_nan=False, width=64)


class FastDataset(FastLoading, Dataset):
    """RecBole's dataset, read by us."""


@dataclass(frozen=True)
class World:
    """A folder, and a configuration that loads all columns of the data set `w` in it."""

    folder: Path
    config: Any = field(repr=False)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """One for all examples, each of which writes `w` anew."""
    folder = tmp_path_factory.mktemp("round_trip")
    write_inter(folder, "w", [])
    settings = {"data_path": str(folder), "load_col": None, "state": "ERROR", "report": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return World(folder, make_config("BPR", "w", settings=settings))


def is_token(text: str) -> bool:
    """Whether a cell can be an ID."""
    has_controls = any(ord(char) < 32 or ord(char) == 127 for char in text)
    return text != "[PAD]" and text.strip() not in MISSING_WORDS and not has_controls and len(text.encode()) <= 511


def expected_of(rows: list[tuple[str, str, Any]]) -> list[tuple[str, str, float]]:
    """Each usable row once, by user and time; Python sorts strings as their bytes, and is stable."""
    usable = dict.fromkeys((user, item, float(time)) for user, item, time in rows if is_token(user) and is_token(item))
    return sorted(usable, key=lambda row: (row[0].encode(), row[2]))


def written(path: Path, header: list[str], rows: list[tuple[Any, ...]]) -> Path:
    """The table as CSV, TSV (gzipped or not) or Parquet, by its suffix."""
    if path.suffix == ".parquet":
        pl.DataFrame(rows, schema=header, orient="row").write_parquet(path)
        return path
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf-8", newline="") as stream:
        separator = "\t" if ".tsv" in path.suffixes else ","
        out = csv.writer(stream, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator="\n")
        out.writerows([header, *rows])
    return path


def loaded(dataset: Any) -> list[tuple[str, str, float]]:
    """The interactions of a loaded dataset, in their order."""
    columns = (
        dataset.id2token(field, np.asarray(dataset.inter_feat[field])).tolist() for field in ("user_id", "item_id")
    )
    return list(zip(*columns, np.asarray(dataset.inter_feat["timestamp"]).tolist(), strict=True))


def converted(folder: Path, source: Source) -> Any:
    options = Options(keep_unseen=True)
    return convert(source, "w", folder, options)


@given(
    rows=ROWS,
    suffix=st.sampled_from([".csv", ".tsv", ".tsv.gz", ".parquet"]),
)
@example(rows=[("a", "x", 1), ("a", "y", 1), ("a", "x", 1)], suffix=".csv")
@tried(40)
def test_interactions_come_back_as_they_were(world, rows, suffix) -> None:
    folder, config = world.folder, world.config
    table = SourceTable(written(folder / f"log{suffix}", ["u", "i", "t"], rows))
    source = Source(table, InteractionColumns("u", "i", "t"))
    expected = expected_of(rows)
    if not expected:
        with pytest.raises(ValueError, match="no usable row"):
            converted(folder, source)
        return
    made = converted(folder, source)
    assert made.interactions.n_read == len(rows)
    assert made.interactions.n_rows + sum(made.interactions.dropped.values()) == len(rows)
    stock = Dataset(config)
    assert loaded(stock) == expected
    assert loaded(FastDataset(config)) == expected
    assert sorted(made.items.tokens) == sorted({item for _, item, _ in expected})


@given(times=st.lists(DECIMAL, min_size=1, max_size=8))
@tried(30)
def test_decimal_times_keep_their_order_and_value(world, times) -> None:
    folder, config = world.folder, world.config
    rows = [("u", f"i{place}", repr(time)) for place, time in enumerate(times)]
    table = SourceTable(written(folder / "log.csv", ["u", "i", "t"], rows))
    converted(folder, Source(table, InteractionColumns("u", "i", "t")))
    expected = sorted(enumerate(times), key=lambda pair: pair[1])
    found = loaded(Dataset(config))
    assert [item for _, item, _ in found] == [f"i{place}" for place, _ in expected]
    assert all(
        math.isclose(row[2], time, rel_tol=1e-14, abs_tol=1e-14) for row, (_, time) in zip(found, expected, strict=True)
    )
    assert loaded(FastDataset(config)) == found


@given(titles=st.lists(TEXT, min_size=1, max_size=6), prices=st.lists(TEXT | DECIMAL.map(repr), min_size=6, max_size=6))
@tried(40)
def test_titles_and_prices_come_back_as_they_were(world, titles, prices) -> None:
    folder, config = world.folder, world.config
    rows = [(f"i{place}", title, price) for place, (title, price) in enumerate(zip(titles, prices, strict=False))]
    log = written(folder / "log.csv", ["u", "i", "t"], [("u", row[0], 1) for row in rows])
    table = SourceTable(written(folder / "items.csv", ["i", "title", "price"], rows))
    columns = (ItemColumn("title", "token_seq"), ItemColumn("price", "float"))
    source = Source(SourceTable(log), InteractionColumns("u", "i", "t"), ItemSource(table, "i", columns))
    made = converted(folder, source)
    dataset = FastDataset(config)
    tokens = dataset.id2token("item_id", np.asarray(dataset.item_feat["item_id"]))
    for token, words in zip(tokens, dataset.item_feat["title"], strict=True):
        if token != "[PAD]":
            assert dataset.id2token("title", words[words > 0]).tolist() == words_of(titles[int(token[1:])])
    lines = (made.path / "w.item").read_text(encoding="utf-8").split("\n")
    found = next(csv.reader(lines[1:], delimiter="\t"))[2]
    assert found == (price_of(prices[0]) or "")
    texts = item_texts(made.path / "w.item", "{title}")
    assert {token: text.split() for token, text in texts.items()} == {
        f"i{place}": [part for word in words_of(title) for part in word.replace("_", " ").split()]
        for place, title in enumerate(titles)
        if "".join(words_of(title)).replace("_", "").strip()
    }


def words_of(title: str) -> list[str]:
    """A title's words: control characters and blanks part them, and no other thing is lost."""
    clean = "".join(" " if ord(char) < 32 or ord(char) == 127 else char for char in title)
    return [] if title.strip() == "" else clean.split()


def price_of(cell: str) -> str | None:
    """The cell as it was spelt, if it is a finite number to polars."""
    number = pl.Series([cell.strip()]).cast(pl.Float64, strict=False)[0]
    return cell.strip() if number is not None and math.isfinite(number) else None

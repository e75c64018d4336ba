"""Item columns of every type, and items without rows, to exact text."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from recbole_pixel.convert import ItemColumn, ItemSource, SourceTable
from recbole_pixel.convert.items import Items, write_items


def written(folder: Path, text: str, columns: str, wanted: list[str], **options) -> tuple[str, Items]:
    (folder / "items.csv").write_text(text, encoding="utf-8")
    parsed = tuple(ItemColumn.parse(column) for column in columns.split(","))
    source = ItemSource(SourceTable(folder / "items.csv"), "id", parsed)
    result = write_items(pl.Series(wanted), source, folder / "out.item", **options)
    return (folder / "out.item").read_text(encoding="utf-8"), result


def test_every_type(tmp_path: Path) -> None:
    text, result = written(
        tmp_path,
        "id,title,brand,price,genres,sizes\n"
        '1,"  A\ttab, ""quotes""\nand lines ",Ü & Co ,12.50,Sci-Fi|Film Noir,1;2.5\n'
        "2,None,None,cheap,,1;x\n"
        "3,,x,inf,Drama,3\n",
        "title:token_seq,brand,price:float,genres:token_seq:|,sizes:float_seq:;",
        ["1", "2", "3"],
    )
    assert text == (
        "item_id:token\ttitle:token_seq\tbrand:token\tprice:float\tgenres:token_seq\tsizes:float_seq\n"
        '1\t"A tab, ""quotes"" and lines"\tÜ & Co\t12.50\tSci-Fi Film_Noir\t1 2.5\n'
        "2\tNone \t\t\t\t\n"
        "3\t\tx\t\tDrama\t3\n"
    )
    assert result.notes == {"cells of 'price' that are no number": 2, "cells of 'sizes' that are no number": 1}


def test_repeated_keyless_and_unseen_rows_are_counted(tmp_path: Path) -> None:
    table = "id,t\nb,first\n,none\nb,second\nz,unseen\na,x\n"
    text, result = written(tmp_path, table, "t", ["a", "b", "c"])
    assert text == "item_id:token\tt:token\nb\tfirst\na\tx\nc\t\n"
    assert result.tokens == ["b", "a", "c"]
    assert result.n_without_row == 1
    assert result.notes == {
        "items without interactions": 1,
        "rows that repeat an item": 1,
        "rows without a usable key": 1,
    }
    text, _ = written(tmp_path, table, "t", ["a", "b", "c"], keep_unseen=True)
    assert text == "item_id:token\tt:token\nb\tfirst\nz\tunseen\na\tx\nc\t\n"


def test_keys_of_another_kind_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"no item of the interactions is in .*spelt like '17', its column 'id' like 'sku-17'"
    ):
        written(tmp_path, "id,t\nsku-17,x\n", "t", ["17"])


def test_a_column_spec_is_parsed_and_its_type_checked() -> None:
    assert ItemColumn.parse("a") == ItemColumn("a", "token")
    assert ItemColumn.parse(" b:token_seq ") == ItemColumn("b", "token_seq")
    assert ItemColumn.parse("g:token_seq:|") == ItemColumn("g", "token_seq", "|")
    with pytest.raises(ValueError, match="type 'text'; expected one of token, token_seq, float, float_seq"):
        ItemColumn.parse("a:text")

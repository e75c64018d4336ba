"""Items: one row for each item of the interactions, with typed columns, written as NAME.item."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import polars as pl

from recbole_pixel.convert.atomic_text import (
    FieldType,
    as_number,
    as_number_seq,
    as_token,
    as_token_seq,
    has_breaks,
    header,
    is_missing,
)
from recbole_pixel.convert.source_table import SourceTable, readable


@dataclass(frozen=True)
class ItemColumn:
    """A column of the items.

    Args:
        source: its name in the source.
        kind: its RecBole type.
        separator: what separates tokens or numbers in the source, if not blanks; for the `_seq` types.
        name: its name in the .item file; the source's by default.
    """

    source: str
    kind: FieldType = "token"
    separator: str | None = None
    name: str | None = None

    @property
    def field(self) -> str:
        """How the header of the .item file spells it."""
        return f"{header(self.name or self.source)}:{self.kind}"

    @classmethod
    def parse(cls, text: str) -> ItemColumn:
        """A column from `name`, `name:type` or `name:type:separator`, e.g. `genres:token_seq:|`.

        Raises:
            ValueError: the type is not one of RecBole's.
        """
        match = re.fullmatch(r"(?P<source>.+?)(:(?P<kind>\w+)(:(?P<separator>.+))?)?", text.strip())
        if match is None:
            raise ValueError(f"item column {text!r} has no name; expected name, name:type or name:type:separator")
        kind = match["kind"] or "token"
        if kind not in get_args(FieldType):
            kinds = ", ".join(get_args(FieldType))
            raise ValueError(f"item column {text!r} has type {kind!r}; expected one of {kinds}")
        return cls(match["source"], kind, match["separator"])  # type: ignore[arg-type]

    def cells(self) -> pl.Expr:
        """The column's cells as RecBole reads them; null where nothing usable is there."""
        text = pl.col(self.source)
        text = pl.when(~is_missing(text) if self.kind != "token_seq" else text.is_not_null()).then(text)
        if self.kind == "token":
            return as_token(text)
        if self.kind == "token_seq":
            return as_token_seq(text, self.separator)
        return as_number(text) if self.kind == "float" else as_number_seq(text, self.separator)


@dataclass(frozen=True)
class ItemSource:
    """A table of items: where it is, which column is the key, which columns to keep."""

    table: SourceTable
    key: str
    columns: tuple[ItemColumn, ...] = ()


@dataclass(frozen=True)
class Items:
    """What was written.

    Attributes:
        tokens: item tokens, in the order of the file.
        n_without_row: items of the interactions that the items' table does not describe.
        notes: what was left out of the table, by reason, with its number.
    """

    tokens: list[str]
    n_without_row: int
    notes: dict[str, int]


def write_items(wanted: pl.Series, source: ItemSource | None, out: Path, *, keep_unseen: bool = False) -> Items:
    """Writes the .item file: the wanted items in the table's order, then those that the table lacks.

    Args:
        wanted: distinct tokens of the items that have interactions.
        source: the items' table; without one the file holds the tokens alone.
        out: the file to write; replaced if it is there.
        keep_unseen: also keep the table's items that have no interaction.

    Raises:
        LookupError: a column is missing.
        ValueError: the table is empty or unreadable, or none of the wanted items is in it.
    """
    keys = pl.DataFrame({"item_id": wanted})
    if source is None:
        _write(keys, [], out)
        return Items(wanted.to_list(), 0, {})
    table, notes = _described(source)
    unseen = table.join(keys, on="item_id", how="anti").height
    known = table if keep_unseen else table.join(keys, on="item_id", how="semi", maintain_order="left")
    missing = keys.join(table, on="item_id", how="anti", maintain_order="left")
    if missing.height == keys.height:
        example, key = wanted[0], table["item_id"].first()
        raise ValueError(
            f"no item of the interactions is in {source.table.path}: they are spelt like {example!r}, "
            f"its column {source.key!r} like {key!r}; name the column that holds the same IDs"
        )
    if unseen and not keep_unseen:
        notes["items without interactions"] = unseen
    rows = pl.concat([known, missing], how="diagonal")
    _write(rows, [column.field for column in source.columns], out)
    return Items(rows["item_id"].to_list(), missing.height, notes)


def _described(source: ItemSource) -> tuple[pl.DataFrame, dict[str, int]]:
    """The table's usable rows, each item once, and what was wrong with the others."""
    names = dict.fromkeys([source.key, *(column.source for column in source.columns)])
    with readable(source.table.path):
        key = pl.col(source.key)
        cells = [column.cells().alias(f"{position}") for position, column in enumerate(source.columns)]
        spoilt = [_n_spoilt(column).alias(f"{position}") for position, column in enumerate(source.columns)]
        text = source.table.text(*names)
        usable = text.filter(~is_missing(key), ~has_breaks(key))
        n_read = text.select(pl.len()).collect(engine="streaming").item()
        frame = usable.select(key.alias("item_id"), *cells).collect(engine="streaming")
        bad = usable.select(spoilt or [pl.lit(0)]).collect(engine="streaming").row(0)
    spoilt_columns = zip(source.columns, bad, strict=False)
    notes = {f"cells of {column.source!r} that are no number": n for column, n in spoilt_columns}
    unique = frame.unique("item_id", keep="first", maintain_order=True)
    notes["rows without a usable key"] = n_read - frame.height
    notes["rows that repeat an item"] = frame.height - unique.height
    return unique, {reason: n for reason, n in notes.items() if n}


def _n_spoilt(column: ItemColumn) -> pl.Expr:
    if not column.kind.startswith("float"):
        return pl.lit(0)
    return (column.cells().is_null() & ~is_missing(pl.col(column.source))).sum()


def _write(rows: pl.DataFrame, fields: list[str], out: Path) -> None:
    names = dict(zip(rows.columns, ["item_id:token", *fields], strict=True))
    rows.rename(names).write_csv(out, separator="\t")

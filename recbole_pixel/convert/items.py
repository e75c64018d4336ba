"""Items: one row for each item of the interactions, with typed columns, written as NAME.item."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
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
    is_reserved,
    is_too_long,
)
from recbole_pixel.convert.source_table import SourceTable


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
        filled: name of each column to the number of its cells that are not empty.
    """

    tokens: list[str]
    n_without_row: int
    notes: dict[str, int]
    filled: dict[str, int] = field(default_factory=dict)


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
    wanted_keys = pl.DataFrame({"item_id": wanted})
    if source is None:
        _write(wanted_keys, [], out)
        return Items(wanted.to_list(), 0, {})
    with source.table.readable():
        keys, notes = _keys(source)
        if keys.is_empty():
            why = f": {', '.join(f'{n} {reason}' for reason, n in notes.items())}" if notes else ""
            raise ValueError(f"{source.table.origin} describes no item{why}; expected a row for each item")
        missing = wanted_keys.join(keys, on="item_id", how="anti", maintain_order="left")
        if missing.height == wanted_keys.height:
            example, key = wanted[0], keys["item_id"].first()
            raise ValueError(
                f"no item of the interactions is in {source.table.origin}: they are spelt like {example!r}, "
                f"its column {source.key!r} like {key!r}; name the column that holds the same IDs"
            )
        known = _cells(source, None if keep_unseen else wanted)
    unseen = keys.height - (wanted_keys.height - missing.height)
    if unseen and not keep_unseen:
        notes["items without interactions"] = unseen
    rows = pl.concat([known, missing], how="diagonal")
    _write(rows, [column.field for column in source.columns], out)
    return Items(rows["item_id"].to_list(), missing.height, notes, _filled(rows, source.columns))


def _usable(source: ItemSource) -> pl.LazyFrame:
    names = dict.fromkeys([source.key, *(column.source for column in source.columns)])
    key = pl.col(source.key)
    return source.table.text(*names).filter(~is_missing(key), ~has_breaks(key), ~is_reserved(key), ~is_too_long(key))


def _keys(source: ItemSource) -> tuple[pl.DataFrame, dict[str, int]]:
    """The keys of the table's usable rows, each once, and what is wrong with the other rows and cells, by number."""
    n_read = source.table.text(source.key).select(pl.len()).collect(engine="streaming").item()
    usable = _usable(source)
    keys = usable.select(pl.col(source.key).alias("item_id")).collect(engine="streaming")
    unique = keys.unique(maintain_order=True)
    spoilt = [_n_spoilt(column).alias(f"{position}") for position, column in enumerate(source.columns)]
    counts = usable.select(spoilt or [pl.lit(0)]).collect(engine="streaming").row(0)
    columns = zip(source.columns, counts, strict=False)
    notes = {f"cells of {column.source!r} that are no number": n for column, n in columns}
    notes["rows without a usable key"] = n_read - keys.height
    notes["rows that repeat an item"] = keys.height - unique.height
    return unique, {reason: n for reason, n in notes.items() if n}


def _cells(source: ItemSource, wanted: pl.Series | None) -> pl.DataFrame:
    """The cells of the wanted items, or of all; an item's first row counts."""
    key = pl.col(source.key)
    cells = [column.cells().alias(f"{position}") for position, column in enumerate(source.columns)]
    rows = _usable(source)
    if wanted is not None:
        # Before the texts are in memory: a large table describes many more items than are wanted.
        rows = rows.filter(key.is_in(wanted.implode()))
    frame = rows.select(key.alias("item_id"), *cells).collect(engine="streaming")
    return frame.unique("item_id", keep="first", maintain_order=True)


def _n_spoilt(column: ItemColumn) -> pl.Expr:
    if not column.kind.startswith("float"):
        return pl.lit(0)
    return (column.cells().is_null() & ~is_missing(pl.col(column.source))).sum()


def _filled(rows: pl.DataFrame, columns: tuple[ItemColumn, ...]) -> dict[str, int]:
    counts = rows.select(pl.exclude("item_id").fill_null("").ne("").sum()).row(0)
    return {column.name or column.source: n for column, n in zip(columns, counts, strict=True)}


def _write(rows: pl.DataFrame, fields: list[str], out: Path) -> None:
    names = dict(zip(rows.columns, ["item_id:token", *fields], strict=True))
    rows.rename(names).write_csv(out, separator="\t")

"""A table with columns of another one beside its own."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from recbole_pixel.convert.source_table import SourceTable


@dataclass(frozen=True)
class TableBeside(SourceTable):
    """The rows of ``path``, each with columns of the first row in ``more`` that has its key.

    Args:
        key: column of the keys.
        more: the other table; its columns of the same names are not seen.
        more_key: its column of the keys.
    """

    key: str = field(kw_only=True)
    more: SourceTable = field(kw_only=True)
    more_key: str = field(kw_only=True)

    def columns(self) -> list[str]:
        """The names of the columns: this table's, then the other's."""
        own = super().columns()
        return own + [name for name in self.more.columns() if name not in own]

    def text(self, *names: str) -> pl.LazyFrame:
        """The columns of these names, as text, in file order; null where the other table has no row."""
        own = set(super().columns())
        there = [name for name in dict.fromkeys(names) if name not in own and name in self.more.columns()]
        here = [name for name in dict.fromkeys([self.key, *names]) if name not in there]
        rows = super().text(*here)
        if there:
            others = self.more.text(*dict.fromkeys([self.more_key, *there]))
            others = others.with_columns(pl.col(self.more_key).str.strip_chars())
            others = others.unique(self.more_key, keep="first", maintain_order=True)
            rows = rows.join(others, left_on=self.key, right_on=self.more_key, how="left", maintain_order="left")
        return rows.select(names)

    def count_matches(self) -> tuple[int, int]:
        """How many rows there are, and how many of them have one in the other table."""
        keys = super().text(self.key).with_columns(pl.col(self.key).str.strip_chars())
        with self.more.readable():
            others = self.more.text(self.more_key).with_columns(pl.col(self.more_key).str.strip_chars())
            both = keys.join(others, left_on=self.key, right_on=self.more_key, how="semi")
            return keys.select(pl.len()).collect().item(), both.select(pl.len()).collect().item()

"""Anyone's table as a lazy frame of text columns: CSV, TSV (also gzipped) or Parquet."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

_PARQUET = (".parquet", ".pq")
_TAB = (".tsv", ".tab", ".inter", ".item")


@dataclass(frozen=True)
class SourceTable:
    """A table to read from; nothing is read before it is asked for.

    Args:
        path: CSV, TSV or Parquet file; CSV and TSV may be gzipped or zstd-compressed.
        separator: between cells; taken from the file's suffix by default (a tab for .tsv, else a comma).
        column_names: the names of the columns of a file that has no header line.
        quote: the quoting character of the file; None for a file in which quotes are ordinary text.
        made_from: the user's file, if the table was made from it: messages name that one.
    """

    path: Path
    separator: str | None = None
    column_names: tuple[str, ...] | None = None
    quote: str | None = '"'
    made_from: Path | None = None

    @property
    def origin(self) -> Path:
        """The file that the user knows the table by."""
        return self.made_from or self.path

    @property
    def is_parquet(self) -> bool:
        """Whether the file is read as Parquet, by its suffix."""
        return self.path.suffix.lower() in _PARQUET

    def columns(self) -> list[str]:
        """The column names, as the file spells them.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is empty or cannot be read.
        """
        if not self.path.is_file():
            raise FileNotFoundError(f"no file {self.path}; expected a CSV, TSV or Parquet table")
        if self.column_names is not None:
            return list(self.column_names)
        with readable(self.path):
            if self.is_parquet:
                return pl.scan_parquet(self.path, glob=False).collect_schema().names()
            first = self._scan(has_header=False, n_rows=1).collect()
        return [str(name).strip().removeprefix("\ufeff") for name in first.row(0)]

    def text(self, *names: str) -> pl.LazyFrame:
        """The columns of these names, as text, in file order.

        Raises:
            LookupError: a column is not there, or two columns have its name.
        """
        columns = self.columns()
        self._require(names, columns)
        if self.is_parquet:
            frame = pl.scan_parquet(self.path, glob=False)
            return frame.select(_as_text(name, dtype) for name, dtype in frame.select(names).collect_schema().items())
        frame = self._scan(has_header=self.column_names is None, with_column_names=_numbered)
        return frame.select(pl.col(_numbered(columns)[columns.index(name)]).alias(name) for name in names)

    def _scan(self, **options: Any) -> pl.LazyFrame:
        separator = self.separator
        if separator is None:
            suffixes = [suffix.lower() for suffix in self.path.suffixes]
            separator = "\t" if any(suffix in _TAB for suffix in suffixes) else ","
        # Text only: inferring types would turn the IDs 007 and 7 into one and round long ones.
        return pl.scan_csv(
            self.path, separator=separator, quote_char=self.quote, infer_schema=False, glob=False, **options
        )

    def _require(self, names: Iterable[str], columns: list[str]) -> None:
        repeats = Counter(columns)
        for name in names:
            if name not in repeats:
                near = difflib.get_close_matches(name.lower(), [column.lower() for column in columns], n=1, cutoff=0.4)
                nearest = [column for column in columns if near and column.lower() == near[0]]
                hint = f"; the nearest is {nearest[0]!r}" if nearest else ""
                raise LookupError(f"{self.path} has no column {name!r}{hint} (its columns: {', '.join(columns)})")
            if repeats[name] > 1:
                raise LookupError(f"{self.path} has {repeats[name]} columns named {name!r}; rename all but one")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what the reader says about a broken file into one line that names the file.

    Raises:
        ValueError: the file is empty, is not UTF-8, or its rows do not fit its header.
    """
    try:
        yield
    except pl.exceptions.NoDataError as error:
        raise ValueError(f"{path} is empty; expected a header line and rows") from error
    except pl.exceptions.ComputeError as error:
        raise ValueError(f"{path} cannot be read: {_advice(str(error))}") from error


def _advice(message: str) -> str:
    first = message.strip().splitlines()[0] if message.strip() else "unknown error"
    if "utf-8" in message.lower():
        return "it is not UTF-8 text; convert it first, e.g. with iconv -f latin1 -t utf-8"
    if "found more fields" in message:
        return "a row has more cells than the header; check --separator and unquoted separators"
    if "could not parse" in message:
        return f"{first} (an unclosed quote? --quote none reads quotes as ordinary text)"
    return first


def _numbered(columns: list[str]) -> list[str]:
    # Positions, so that a name that appears twice does not stop a table whose other columns are wanted.
    return [f"column_{position}" for position in range(len(columns))]


def _as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if isinstance(dtype, pl.List):
        return column.list.eval(pl.element().cast(pl.String)).list.join(" ")
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return column.dt.convert_time_zone("UTC").dt.replace_time_zone(None).cast(pl.String)
    if dtype.is_float():
        # Integer IDs beside a missing one come as floats out of pandas: 7.0 means 7.
        whole = column.cast(pl.Int64, strict=False)
        return pl.when(whole == column).then(whole.cast(pl.String)).otherwise(column.cast(pl.String))
    if dtype in (pl.Binary, pl.Struct, pl.Object):
        raise ValueError(f"column {name!r} holds {dtype}, expected text, numbers, dates or lists of them")
    return column.cast(pl.String)

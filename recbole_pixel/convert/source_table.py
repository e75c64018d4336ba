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

from recbole_pixel.table_faults import fault_of, first_bytes, kind_of

_PARQUET = (".parquet", ".pq")
_SEPARATORS = "\t;|,"
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
            ValueError: the file is empty, is no table, or cannot be read.
        """
        if not self.path.is_file():
            found = "a folder is at" if self.path.is_dir() else "no file"
            raise FileNotFoundError(f"{found} {self.path}; expected a CSV, TSV or Parquet table")
        with self.readable():
            if self.is_parquet:
                return pl.scan_parquet(self.path, glob=False).collect_schema().names()
            if kind := kind_of(first_bytes(self.path)):
                raise ValueError(f"{self.origin} is no table: {kind}")
            first = ["" if cell is None else cell.strip() for cell in self._first_row()]
        if self.column_names is not None:
            self._check_width(len(first))
            return list(self.column_names)
        if not any(first):
            raise ValueError(f"{self.origin} begins with a blank line; expected a header line that names the columns")
        return [name.removeprefix("\ufeff") for name in first]

    def text(self, *names: str) -> pl.LazyFrame:
        """The columns of these names, as text, in file order.

        Raises:
            LookupError: a column is not there, or two columns have its name.
        """
        columns = self.columns()
        self._require(names, columns)
        if self.is_parquet:
            frame = pl.scan_parquet(self.path, glob=False)
            kinds = frame.select(names).collect_schema()
            return frame.select(_as_text(name, kind, self.origin) for name, kind in kinds.items())
        frame = self._scan(has_header=self.column_names is None, with_column_names=_numbered)
        return frame.select(pl.col(_numbered(columns)[columns.index(name)]).alias(name) for name in names)

    @contextmanager
    def readable(self) -> Iterator[None]:
        """Turns what the reader says about a broken file into one line that names the file, and where it is broken.

        Raises:
            ValueError: the file is empty, is no text in UTF-8, is damaged, or its rows do not fit its header.
        """
        try:
            yield
        except pl.exceptions.NoDataError as error:
            raise ValueError(f"{self.origin} is empty; expected a header line and rows") from error
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise ValueError(f"{self.origin} cannot be read: {self._fault(str(error))}") from error
        except OSError as error:
            # What polars says of damaged compressed data names no file; what the system says is numbered.
            if type(error) is not OSError or error.errno is not None or "(os error " in str(error):
                raise
            raise ValueError(f"{self.origin} cannot be read: {self._fault(str(error))}") from error

    def _fault(self, message: str) -> str:
        first = message.strip().splitlines()[0] if message.strip() else ""
        if self.is_parquet:
            return f"{first}; write or download it again"
        fault = fault_of(self.path, self._separator, self.quote)
        if " cells, and the header " in fault:
            fault += "; check --separator and unquoted separators"
        elif "quote" in fault:
            fault += "; --quote none reads quotes as ordinary text"
        return fault or first

    @property
    def _separator(self) -> str:
        if self.separator is not None:
            return self.separator
        suffixes = [suffix.lower() for suffix in self.path.suffixes]
        return "\t" if any(suffix in _TAB for suffix in suffixes) else ","

    def _scan(self, **options: Any) -> pl.LazyFrame:
        # Text only: inferring types would turn the IDs 007 and 7 into one and round long ones.
        return pl.scan_csv(
            self.path, separator=self._separator, quote_char=self.quote, infer_schema=False, glob=False, **options
        )

    def _first_row(self) -> tuple[Any, ...]:
        return self._scan(has_header=False, n_rows=1).collect().row(0)

    def _check_width(self, n_cells: int) -> None:
        if self.column_names is not None and len(self.column_names) != n_cells:
            raise ValueError(
                f"{self.origin}, line 1: {n_cells} cells, and {len(self.column_names)} names for them: "
                f"{', '.join(self.column_names)}"
            )

    def _require(self, names: Iterable[str], columns: list[str]) -> None:
        repeats = Counter(columns)
        for name in names:
            if name not in repeats:
                near = difflib.get_close_matches(name.lower(), [column.lower() for column in columns], n=1, cutoff=0.4)
                nearest = [column for column in columns if near and column.lower() == near[0]]
                hint = f"; the nearest is {nearest[0]!r}" if nearest else _hint(columns)
                raise LookupError(f"{self.origin} has no column {name!r}{hint} (its columns: {', '.join(columns)})")
            if repeats[name] > 1:
                raise LookupError(f"{self.origin} has {repeats[name]} columns named {name!r}; rename all but one")


def _numbered(columns: list[str]) -> list[str]:
    # Positions, so that a name that appears twice does not stop a table whose other columns are wanted.
    return [f"column_{position}" for position in range(len(columns))]


def _hint(columns: list[str]) -> str:
    """What may be wrong with a table that has none of the wanted columns."""
    other = next((char for char in _SEPARATORS if len(columns) == 1 and char in columns[0]), "")
    if other:
        flag = "tab" if other == _SEPARATORS[0] else repr(other)
        return f"; its cells seem to be parted by {other!r}: --separator {flag}"
    if any(name.lstrip("-").replace(".", "", 1).isdecimal() for name in columns):
        return "; if its first line is no header, name its columns: --header A,B,..."
    return ""


def _as_text(name: str, dtype: pl.DataType, origin: Path) -> pl.Expr:
    column = pl.col(name)
    held = dtype.inner if isinstance(dtype, pl.List) else dtype
    if isinstance(held, (pl.Binary, pl.Struct, pl.Object, pl.Array, pl.List)):
        raise ValueError(f"column {name!r} of {origin} holds {dtype}, expected text, numbers, dates or lists of them")
    if isinstance(dtype, pl.List):
        return column.list.eval(pl.element().cast(pl.String)).list.join(" ")
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return column.dt.convert_time_zone("UTC").dt.replace_time_zone(None).cast(pl.String)
    if dtype.is_float():
        # Integer IDs beside a missing one come as floats out of pandas: 7.0 means 7.
        whole = column.cast(pl.Int64, strict=False)
        return pl.when(whole == column).then(whole.cast(pl.String)).otherwise(column.cast(pl.String))
    return column.cast(pl.String)

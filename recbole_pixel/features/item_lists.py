"""Which row of a feature file belongs to which item: token lists and mappings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from recbole_pixel.store import read_items

if TYPE_CHECKING:
    import polars as pl

TABLES = {".csv": ",", ".tsv": "\t"}


def item_tokens(path: Path, column: str = "item_id") -> list[str]:
    """Item tokens in the order of a file.

    Args:
        path: a text file with a token a line; or a table (``.csv``, ``.tsv``, ``.item``, ``.inter``), of which the
            distinct tokens count, in the order in which they first appear (as ``pandas.factorize`` has them).
        column: the column of a ``.csv`` or ``.tsv`` table.

    Raises:
        ValueError: a line is blank, or the file is no such table.
        LookupError: the table lacks that column.
    """
    if path.suffix in (".item", ".inter"):
        return read_items(path)
    if path.suffix in TABLES:
        frame = _column(_scan(path, TABLES[path.suffix]), path, column)
        return frame.drop_nulls().unique(maintain_order=True).collect().to_series().to_list()
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    blank = [place for place, line in enumerate(lines, 1) if not line.strip()]
    if blank:
        raise ValueError(f"{path}: line {blank[0]} is blank; expected an item token on each line")
    return lines


def mmrec_tokens(path: Path) -> list[str]:
    """Item tokens by ``itemID``, from MMRec's ``i_id_mapping.csv``: a tab-separated token and ``itemID`` on each line.

    Raises:
        ValueError: the ids are not 0 to N - 1, each once.
        LookupError: there is no column ``itemID``, or none beside it.
    """
    frame = _scan(path, "\t")
    columns = frame.collect_schema().names()
    others = [name for name in columns if name != "itemID"]
    if "itemID" not in columns or not others:
        raise LookupError(f"{path} has the columns {columns}, expected MMRec's tab-separated mapping: asin, itemID")
    ids, tokens = (_column(frame, path, name).collect().to_series() for name in ("itemID", others[0]))
    by_id = dict(zip(ids.to_list(), tokens.to_list(), strict=True))
    wanted = [str(number) for number in range(len(ids))]
    missing = [number for number in wanted if number not in by_id]
    if missing:
        raise ValueError(
            f"{path} has {len(ids)} lines, but no itemID {missing[0]}; expected each of 0 to {len(ids) - 1} once"
        )
    return [by_id[number] for number in wanted]


def _scan(path: Path, separator: str) -> pl.LazyFrame:
    import polars as pl

    # As text: inferring types would turn the tokens 007 and 7 into one.
    return pl.scan_csv(path, separator=separator, infer_schema=False, glob=False)


def _column(frame: pl.LazyFrame, path: Path, name: str) -> pl.LazyFrame:
    columns = frame.collect_schema().names()
    if name not in columns:
        raise LookupError(f"{path} has no column {name!r} (its columns: {', '.join(columns)}); name it with --column")
    return frame.select(name)

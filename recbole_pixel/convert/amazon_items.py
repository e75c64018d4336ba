"""Amazon's metadata of any edition, read once and put aside as a Parquet table of what a data set keeps of an item."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from recbole_pixel.convert.amazon_pictures import is_placeholder, main_picture
from recbole_pixel.convert.amazon_records import Record, parse_record
from recbole_pixel.convert.amazon_text import categories, is_script, plain_text, price
from recbole_pixel.convert.items import ItemColumn
from recbole_pixel.convert.line_blocks import BrokenLines, read_blocks

COLUMNS = (
    ItemColumn("title", "token_seq"),
    ItemColumn("brand", "token"),
    ItemColumn("categories", "token_seq"),
    ItemColumn("price", "float"),
    ItemColumn("description", "token_seq"),
    ItemColumn("image_url", "token"),
)
"""What NAME.item keeps; `brand` is the 2023 edition's `store`."""

KEY = "item"
_SCHEMA = dict.fromkeys([KEY, *(column.source for column in COLUMNS)], pl.String)


def put_items_aside(path: Path, key: str, out: Path, broken: BrokenLines, progress: bool = False) -> Counter[str]:
    """Writes the table, and counts the cells that were emptied as they held nothing about the item, by reason.

    Args:
        path: the metadata, plain or gzipped.
        key: what they call the item's ID.
        out: the Parquet file to write.
        broken: told of each line that describes no item.
        progress: show a bar.

    Raises:
        ValueError: a line is broken, and such lines are not skipped.
    """
    emptied: Counter[str] = Counter()
    schema = pl.DataFrame(schema=_SCHEMA).to_arrow().schema
    with pq.ParquetWriter(out, schema, compression="lz4") as writer:
        for block in read_blocks(path, broken, progress=progress):
            rows = []
            for number, line in block.lines():
                try:
                    record = parse_record(line)
                    rows.append((_key(record, key), *_described(record, emptied)))
                except ValueError as error:
                    broken.found(number, str(error))
            writer.write_table(pl.DataFrame(rows, schema=_SCHEMA, orient="row").to_arrow().cast(schema))
    return emptied


def _key(record: Record, key: str) -> str | None:
    if key not in record:
        raise ValueError(f"no field {key}; found {', '.join(map(str, record))}")
    value: Any = record[key]
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{key} is {value!r}, expected text")
    return value


def _described(record: Record, emptied: Counter[str]) -> tuple[str | None, ...]:
    """The cells of an item, in the order of `COLUMNS`."""
    title, picture = record.get("title"), main_picture(record)
    if is_script(title):
        emptied["titles that are a piece of the page's program"] += 1
        title = None
    if is_placeholder(picture):
        emptied["pictures that only say that there is none"] += 1
        picture = ""
    cells = (
        plain_text(title),
        plain_text(record.get("brand")) or plain_text(record.get("store")),
        categories(*(record.get(field) for field in ("categories", "category", "main_category", "main_cat"))),
        price(record.get("price")),
        plain_text(record.get("description")),
        picture,
    )
    return tuple(cell or None for cell in cells)

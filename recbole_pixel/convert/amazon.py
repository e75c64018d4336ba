"""Amazon reviews, editions 2014, 2018 and 2023, as the source of a conversion.

Each file is read once, in blocks, into a Parquet table that waits in a temporary folder: the conversion then reads that
as often as it needs, whatever the size of the raw files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recbole_pixel.convert.amazon_editions import AUTO, EDITIONS, FIELDS, Reviews
from recbole_pixel.convert.amazon_items import COLUMNS, KEY, put_items_aside
from recbole_pixel.convert.amazon_reviews import put_reviews_aside
from recbole_pixel.convert.amazon_telling import tell_items, tell_reviews
from recbole_pixel.convert.dataset import Source
from recbole_pixel.convert.interactions import InteractionColumns
from recbole_pixel.convert.items import ItemSource
from recbole_pixel.convert.line_blocks import BrokenLines
from recbole_pixel.convert.source_table import SourceTable


@contextmanager
def amazon_source(
    reviews: Path,
    meta: Path | None = None,
    *,
    folder: Path,
    edition: str = AUTO,
    skip_broken_lines: bool = False,
    progress: bool = False,
) -> Iterator[Source]:
    """Amazon's files as the source of a conversion, as long as the context lasts.

    Args:
        reviews: records (JSON lines, or the Python dictionaries of 2014) or rows of ratings, plain or gzipped.
        meta: the records of the items, plain or gzipped; without them only the items' IDs are known.
        folder: where the tables wait, in a temporary folder: about 50 bytes a review, and the metadata's texts.
        edition: `2014`, `2018` or `2023`; `auto` tells it by the first lines.
        skip_broken_lines: count lines that hold no record instead of refusing the file.
        progress: show a bar for each file.

    Raises:
        FileNotFoundError: one of the files is not there.
        ValueError: a file is of another edition or of none, or a line is broken; the message names the line.
    """
    if edition not in (AUTO, *EDITIONS):
        raise ValueError(f"edition is {edition!r}, expected one of {', '.join((AUTO, *EDITIONS))}")
    told = tell_reviews(reviews, edition)
    notice = [f"{reviews.name} is of the {told.edition} edition: {told.why}"]
    if meta is not None:
        notice.append("{} is of the {} edition: {}".format(meta.name, *tell_items(meta, told)))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".amazon-") as name:
        table = SourceTable(Path(name) / "reviews.parquet", made_from=reviews)
        broken = BrokenLines(reviews, skip_broken_lines)
        put_reviews_aside(reviews, told, table.path, broken, progress)
        notice += broken.notice()
        items = None
        if meta is not None:
            items, more = _items(meta, told, Path(name), BrokenLines(meta, skip_broken_lines), progress)
            notice += more
        yield Source(table, InteractionColumns("user", "item", "time", "rating"), items, notice=tuple(notice))


def _items(
    meta: Path, reviews: Reviews, folder: Path, broken: BrokenLines, progress: bool
) -> tuple[ItemSource, list[str]]:
    table = SourceTable(folder / "items.parquet", made_from=meta)
    emptied = put_items_aside(meta, FIELDS[reviews.edition][1], table.path, broken, progress)
    counts = [f"{meta.name}: {count:,} {reason}, left empty" for reason, count in sorted(emptied.items())]
    return ItemSource(table, KEY, COLUMNS), [*broken.notice(), *counts]

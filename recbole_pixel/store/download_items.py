"""Which picture belongs to which items: the URL column of a RecBole `.item` file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import polars as pl

SLICE_ROWS = 8192


class ItemUrls:
    """The items of a `.item` file and the URLs of their pictures.

    Args:
        file: a tab-separated file with `item_id:token`; of several rows of an item the first counts.
        column: name of the column of URLs, without its type.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it lacks one of the columns, cannot be read as a table, or no item has a URL.
    """

    def __init__(self, file: Path, column: str = "image_url") -> None:
        self.file = file
        fields = _fields(file)
        id_field, url_field = _field(file, fields, "item_id"), _field(file, fields, column)
        text = pl.scan_csv(file, separator="\t", infer_schema=False, low_memory=True)
        rows = text.select(item=pl.col(id_field), url=pl.col(url_field).str.strip_chars().fill_null(""))
        try:
            self._rows = rows.filter(pl.col("item") != "").unique("item", keep="first", maintain_order=True).collect()
        except pl.exceptions.PolarsError as error:
            raise ValueError(f"{file} cannot be read as a tab-separated table: {error}") from error
        self.n_items = self._rows.height
        self.n_with_url = self._rows.filter(pl.col("url") != "").height
        if not self.n_with_url:
            raise ValueError(f"none of the {self.n_items} items in {file} has a URL in its column {url_field}")

    def tokens(self) -> Iterator[str]:
        """The item tokens, those without a URL too, in the order of the file."""
        for rows in self._rows.iter_slices(SLICE_ROWS):
            yield from rows["item"]

    def groups(self) -> Iterator[tuple[str, list[str]]]:
        """Each URL with the items that share it, in the order of a hash, which also mixes the hosts."""
        # Not group_by, which would hold every URL twice: equal URLs are neighbours in the order of their hash.
        order = self._rows.select(pl.col("url").hash(seed=0).arg_sort()).to_series()
        pieces = (self._rows[order[start : start + SLICE_ROWS]] for start in range(0, len(order), SLICE_ROWS))
        rows = (row for piece in pieces for row in piece.select("url", "item").iter_rows())
        for url, group in groupby(rows, key=itemgetter(0)):
            if url:
                yield url, [item for _, item in group]

    def fingerprint(self) -> str:
        """Changes with an item, a URL, or their order."""
        digest = hashlib.sha256()
        for rows in self._rows.iter_slices(SLICE_ROWS):
            digest.update("\n".join(rows["item"] + "\t" + rows["url"]).encode() + b"\n")
        return digest.hexdigest()[:32]


def _fields(file: Path) -> list[str]:
    with open(file, encoding="utf-8-sig", newline="\n") as stream:
        return stream.readline().rstrip("\r\n").split("\t")


def _field(file: Path, fields: list[str], name: str) -> str:
    for field in fields:
        if field.split(":")[0] == name:
            return field
    raise ValueError(
        f"{file} has the columns {fields}, expected one named {name}:token"
        + ("" if name == "item_id" else "; --url-column names another column of URLs")
    )

"""The pictures of the items: those that a source has for them, put into images.lmdb."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from recbole_pixel.convert.atomic_text import is_missing
from recbole_pixel.convert.source_table import SourceTable
from recbole_pixel.store import FileMapSource, ImageSource, PictureError, build_image_store


class PicturesOfItems:
    """The part of a source that belongs to the items of a data set, in the source's order.

    Args:
        source: any source of pictures.
        items: the item tokens.

    Attributes:
        without_picture: items the source has nothing for.
        n_orphans: pictures of the source that belong to no item.
    """

    def __init__(self, source: ImageSource, items: Sequence[str]) -> None:
        self._source = source
        wanted, available = set(items), source.tokens()
        self._tokens = [token for token in available if token in wanted]
        present = set(self._tokens)
        self.without_picture = [item for item in items if item not in present]
        self.n_orphans = len(available) - len(self._tokens)
        self.warnings: list[str] = list(getattr(source, "warnings", []))

    @property
    def name(self) -> str:
        """The source's own name."""
        return self._source.name

    def tokens(self) -> list[str]:
        """The items that have a picture."""
        return self._tokens

    def read(self, token: str) -> bytes:
        """The bytes of an item's picture file."""
        return self._source.read(token)

    def fingerprint(self) -> str:
        """Changes with the source and with the items that are taken from it."""
        digest = hashlib.sha256(self._source.fingerprint().encode())
        for token in self._tokens:
            digest.update(token.encode() + b"\0")
        return digest.hexdigest()[:32]


@dataclass(frozen=True)
class ImageOptions:
    """How pictures are stored; see `build_image_store`.

    Args:
        size: side in pixels.
        fit: how another aspect ratio is met: `squash`, `crop` or `pad`.
        keep_original: store the files as they are, undecoded.
        workers: decoding threads; the store's choice by default.
        progress: whether to show a bar.
    """

    size: int = 224
    fit: str = "squash"
    keep_original: bool = False
    workers: int | None = None
    progress: bool = True


@dataclass
class Pictures:
    """What became of the items' pictures.

    Attributes:
        n_stored: pictures in the store.
        without_picture: items that have none: no file, or one that cannot be read.
        n_orphans: pictures in the source that belong to no item.
        lines: what the source and the build had to say, one line each.
        is_fresh: whether the store was written now; False if it was up to date.
    """

    n_stored: int
    without_picture: list[str]
    n_orphans: int
    lines: list[str] = field(default_factory=list)
    is_fresh: bool = True


class _PicturesBelow(FileMapSource):
    """Files that a table of somebody else's names, all of them below the folder that is the source's name."""

    def read(self, token: str) -> bytes:
        """The bytes of the item's file; refused if `..`, its beginning or a link leads out of the folder."""
        if not Path(os.path.realpath(self.files[token])).is_relative_to(self.name):
            raise PictureError(
                f"{str(self.files[token])!r} leads out of {self.name}: refused; name a folder that holds them all with "
                f"--image-root"
            )
        return super().read(token)


def named_by_column(table: SourceTable, key: str, column: str, root: Path | None = None) -> FileMapSource:
    """The pictures whose files a column of the items' table names.

    Args:
        table: the items' table.
        key: its column of item IDs.
        column: its column of file names, absolute or relative to `root`.
        root: the folder they start from, the table's own by default; a file that does not lie below it makes that one
            picture bad.

    Raises:
        LookupError: a column is missing.
        ValueError: the column holds addresses of the web.
        FileNotFoundError: none of the files is there.
    """
    base = table.path.parent if root is None else root
    with table.readable():
        text = table.text(*dict.fromkeys([key, column]))
        text = text.select(token=pl.col(key), file=pl.col(column).str.strip_chars())
        rows = text.filter(~is_missing(pl.col("token")), ~is_missing(pl.col("file"))).collect()
    named = dict(rows.unique("token", keep="first", maintain_order=True).iter_rows())
    if addresses := [file for file in named.values() if "://" in file[:10]]:
        raise ValueError(
            f"column {column!r} of {table.path} holds web addresses ({len(addresses)} of {len(named)}, e.g. "
            f"{addresses[0]}); download the pictures first and name the files, or a folder of ITEM.jpg with --images"
        )
    files = {token: base / file for token, file in named.items()}
    present = {token: file for token, file in files.items() if file.is_file()}
    if not present:
        example = next(iter(files.values()), None)
        raise FileNotFoundError(
            f"none of the {len(files)} files that column {column!r} of {table.path} names is there"
            + (f", e.g. {example}; name the folder they start from with --image-root" if example else "")
        )
    return _PicturesBelow(present, str(base.resolve()))


def store_pictures(source: ImageSource, items: Sequence[str], out: Path, options: ImageOptions) -> Pictures:
    """Puts the items' pictures into an image store; does nothing if it holds them already.

    Raises:
        LookupError: the source has a picture for none of the items.
        ValueError: none of the pictures can be read, or an option is out of range.
    """
    chosen = PicturesOfItems(source, items)
    if not chosen.tokens():
        available = source.tokens()
        found = f"they are named like {available[0]!r}" if available else "it has no pictures at all"
        raise LookupError(
            f"no picture of {source.name} belongs to an item: {found}, items like {items[0]!r}; "
            "pictures are expected to be named ITEM.jpg (or .png, ...)"
        )
    report = build_image_store(
        chosen,
        out,
        size=options.size,
        fit=options.fit,
        keep_original=options.keep_original,
        workers=options.workers,
        progress=options.progress,
    )
    return Pictures(
        n_stored=len(chosen.tokens()) - len(report.bad),
        without_picture=[*chosen.without_picture, *report.bad],
        n_orphans=chosen.n_orphans,
        lines=[*report.warnings, *(f"unreadable picture of item {item}: {why}" for item, why in report.bad.items())],
        is_fresh=not report.up_to_date,
    )

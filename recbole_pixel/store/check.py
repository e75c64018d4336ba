"""Compares an image store with the items of a dataset, and every picture with what it should be."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tqdm import tqdm

from recbole_pixel.store.durable import file_digest
from recbole_pixel.store.errors import MissingPictureError, StoreError
from recbole_pixel.store.image_index import DATA
from recbole_pixel.store.image_store import ImageStore
from recbole_pixel.store.in_order import in_order
from recbole_pixel.store.picture import decode_image


@dataclass
class CheckReport:
    """What is wrong with a store.

    Attributes:
        store: its path.
        n_pictures: in the store.
        n_items: in the dataset; None if it was not compared with one.
        missing: items without a picture.
        orphaned: pictures without an item.
        corrupt: item token -> why its picture cannot be read.
        duplicates: groups of items whose pictures are equal pixel for pixel.
        damage: what is wrong with the file as a whole; None if nothing is, or it was not looked at.
        is_scanned: the pictures were looked at; False if the file is too damaged for it.
    """

    store: str
    n_pictures: int
    n_items: int | None = None
    missing: list[str] = field(default_factory=list)
    orphaned: list[str] = field(default_factory=list)
    corrupt: dict[str, str] = field(default_factory=dict)
    duplicates: list[list[str]] = field(default_factory=list)
    damage: str | None = None
    is_scanned: bool = True

    @property
    def is_clean(self) -> bool:
        """Nothing is wrong."""
        return not (self.missing or self.orphaned or self.corrupt or self.duplicates or self.damage)

    def text(self, n_named: int | None = 5) -> str:
        """The report as lines; names the first `n_named` of each kind, or all of them."""
        items = "no items to compare with" if self.n_items is None else f"{self.n_items} items"
        lines = [f"{self.store}: {self.n_pictures} pictures, {items}"]
        lines += [f"damaged: {self.damage}"] if self.damage else []
        if self.is_scanned:
            lines += self._counts(n_named)
        return "\n".join([*lines, "clean" if self.is_clean else "not clean"])

    def _counts(self, n_named: int | None) -> list[str]:
        corrupt = [f"{token} ({reason})" for token, reason in self.corrupt.items()]
        return [
            _line("missing (items without a picture)", self.missing, n_named),
            _line("corrupt", corrupt, n_named),
            _line("orphaned (pictures without an item)", self.orphaned, n_named),
            _line("duplicates (groups of equal pixels)", [" = ".join(group) for group in self.duplicates], n_named),
        ]

    def as_json(self) -> str:
        """All of the report as a JSON object."""
        return json.dumps({**asdict(self), "is_clean": self.is_clean}, indent=1, ensure_ascii=False)


def check_store(
    path: str | Path,
    items: Sequence[str] | None = None,
    *,
    deep: bool = False,
    workers: int | None = None,
    progress: bool = False,
) -> CheckReport:
    """Decodes every picture of a store and compares its tokens with `items`.

    Every picture is read against its checksum in any case. `deep` reads the whole file against its digest first, which
    also covers what lies between the pictures; if that fails the pictures are read in a process of their own, since a
    damaged LMDB index can bring a process down.

    Raises:
        FileNotFoundError: no store there.
        StoreError: unfinished, cut short, or not an image store.
    """
    store = ImageStore(path)
    report = CheckReport(str(store.path), len(store), None if items is None else len(items))
    if deep and file_digest(store.path / DATA) != store.manifest["file_digest"]:
        report.damage = "the file is not the one that was built: its digest differs; copy it again or build it again"
        report.is_scanned = _scanned_apart(store, items, report)
        if not report.is_scanned:
            report.damage += "; its index is damaged too, so the pictures could not be looked at"
    else:
        _scan(store, items, report, workers, progress)
    return report


def read_items(file: str | Path) -> list[str]:
    """The distinct item tokens of a RecBole atomic file (`.item` or `.inter`), in order of appearance.

    Raises:
        FileNotFoundError: no such file.
        ValueError: its header has no `item_id:token`.
    """
    file = Path(file)
    with open(file, encoding="utf-8-sig", newline="\n") as stream:
        header = stream.readline().rstrip("\r\n").split("\t")
        if "item_id:token" not in header:
            raise ValueError(f"{file} has the columns {header}, expected a tab-separated file with item_id:token")
        column = header.index("item_id:token")
        rows = (line.rstrip("\r\n").split("\t") for line in stream)
        return list(dict.fromkeys(row[column] for row in rows if len(row) > column))


def _line(kind: str, names: list[str], n_named: int | None) -> str:
    shown = ", ".join(names[:n_named]) + (", ..." if n_named is not None and len(names) > n_named else "")
    return f"{kind}: {len(names)}" + (f": {shown}" if names else "")


def _scan(
    store: ImageStore, items: Sequence[str] | None, report: CheckReport, workers: int | None, progress: bool
) -> None:
    tokens = store.tokens()
    alike: dict[bytes, list[str]] = {}
    looked_at = in_order(lambda token: _pixel_digest(store, token), tokens, workers)
    bar = tqdm(looked_at, total=len(tokens), unit=" pictures", disable=not progress)
    for token, (digest, reason) in zip(tokens, bar, strict=True):
        if reason is not None:
            report.corrupt[token] = reason
        else:
            alike.setdefault(digest, []).append(token)
    report.duplicates = [group for group in alike.values() if len(group) > 1]
    if items is not None:
        present, wanted = set(tokens), set(items)
        report.missing = [token for token in items if token not in present]
        report.orphaned = [token for token in tokens if token not in wanted]


def _pixel_digest(store: ImageStore, token: str) -> tuple[bytes, str | None]:
    """A digest of the picture's shape and pixels, or why it cannot be had."""
    try:
        pixels = decode_image(store.read(token))
    except (StoreError, MissingPictureError, ValueError) as error:
        return b"", str(error)
    return hashlib.blake2b(repr(pixels.shape).encode() + pixels.tobytes(), digest_size=16).digest(), None


def _scanned_apart(store: ImageStore, items: Sequence[str] | None, report: CheckReport) -> bool:
    """Scans in a child process; False if it died of it."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_scan_and_send, args=(store, items, report, theirs))
    child.start()
    theirs.close()
    try:
        found: dict[str, Any] = ours.recv()
    except EOFError:
        return False
    finally:
        child.join()
    report.__dict__.update(found)
    return True


def _scan_and_send(store: ImageStore, items: Sequence[str] | None, report: CheckReport, connection: Connection) -> None:
    with suppress(StoreError):  # the parent sees that nothing came
        _scan(store, items, report, 1, False)
        connection.send(report.__dict__)

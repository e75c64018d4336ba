"""Compares an image store with the items of a dataset, and every picture with what it should be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

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
        is_scanned: the pictures were looked at; False if the index is too damaged for it.
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
        return json.dumps({**asdict(self), "is_clean": self.is_clean}, indent=1)


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
    also covers what lies between the pictures.

    Raises:
        FileNotFoundError: no store there.
        StoreError: unfinished, cut short, or not an image store.
    """
    store = ImageStore(path)
    report = CheckReport(str(store.path), len(store), None if items is None else len(items))
    if deep and file_digest(store.path / DATA) != store.manifest["file_digest"]:
        report.damage = "the file is not the one that was built: its digest differs; copy it again or build it again"
    try:
        tokens = store.tokens()
    except StoreError as error:
        report.is_scanned, told = False, f"the pictures could not be looked at: {error}"
        report.damage = told if report.damage is None else f"{report.damage}; {told}"
    else:
        _scan(store, tokens, items, report, workers, progress)
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


def printable(text: str) -> str:
    """`text` without what would move the cursor of a terminal, or cannot be written there: escaped."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def _line(kind: str, names: list[str], n_named: int | None) -> str:
    shown = ", ".join(printable(name) for name in names[:n_named]) + (
        ", ..." if n_named is not None and len(names) > n_named else ""
    )
    return f"{kind}: {len(names)}" + (f": {shown}" if names else "")


def _scan(
    store: ImageStore,
    tokens: list[str],
    items: Sequence[str] | None,
    report: CheckReport,
    workers: int | None,
    progress: bool,
) -> None:
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

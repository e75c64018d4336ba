"""Array stores compared with their checksums: decoded pictures, activations of a trunk, features."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from recbole_pixel.store.array_store import FORMAT, ArrayStore
from recbole_pixel.store.check import printable
from recbole_pixel.store.durable import MANIFEST
from recbole_pixel.store.errors import StoreError

PARTIAL = ".partial"


@dataclass
class ArrayCheck:
    """What is wrong with an array store.

    Attributes:
        store: its path.
        n_arrays: in it; 0 if it cannot be opened.
        corrupt: tokens whose arrays are not the ones that were written.
        damage: why it cannot be opened or read; None if it can.
        unfinished: it is the beginning of one, which the next run of what makes it goes on with; no fault.
        is_deep: every array was compared with its checksum.
    """

    store: str
    n_arrays: int = 0
    corrupt: list[str] = field(default_factory=list)
    damage: str | None = None
    unfinished: bool = False
    is_deep: bool = False

    @property
    def is_clean(self) -> bool:
        """Nothing is wrong."""
        return not self.corrupt and self.damage is None

    def text(self, n_named: int | None = 5) -> str:
        """The findings in one line; names the first `n_named` tokens, or all of them."""
        if self.unfinished:
            return f"{self.store}: unfinished; the next run that needs it goes on with it"
        if self.damage is not None:
            return f"{self.store}: damaged: {self.damage}"
        if not self.corrupt:
            return f"{self.store}: {self.n_arrays} arrays, {'clean' if self.is_deep else 'whole; --deep compares them'}"
        names = ", ".join(printable(token) for token in self.corrupt[:n_named])
        more = ", ..." if n_named is not None and len(self.corrupt) > n_named else ""
        return (
            f"{self.store}: {len(self.corrupt)} of {self.n_arrays} arrays are not as they were written: {names}{more}; "
            f"delete this folder and make it again; of a cache, the next run does"
        )

    def as_dict(self) -> dict[str, object]:
        """All of it as JSON values."""
        return {**asdict(self), "is_clean": self.is_clean}


def check_arrays(path: str | Path, *, deep: bool = False) -> ArrayCheck:
    """Opens an array store, which compares sizes, manifest and tokens; `deep` compares every array too."""
    found = ArrayCheck(str(path), unfinished=str(path).endswith(PARTIAL), is_deep=deep)
    if found.unfinished:
        return found
    try:
        store = ArrayStore(path, mapped=False)
        found.n_arrays = len(store)
        found.corrupt = store.verify() if deep else []
    except (StoreError, OSError) as error:
        found.damage = str(error)
    return found


def array_stores(folder: Path) -> Iterator[Path]:
    """The array stores in `folder`, damaged and unfinished ones too, by name."""
    for path in sorted(folder.glob("*.array*")) if folder.is_dir() else ():
        if path.is_dir() and path.name.endswith((".array", f".array{PARTIAL}")):
            yield path


def is_array_store(path: Path) -> bool:
    """Whether `path` says that it is an array store."""
    try:
        return bool(json.loads((path / MANIFEST).read_text(encoding="utf-8"))["format"] == FORMAT)
    except (OSError, ValueError, KeyError, TypeError):
        return False

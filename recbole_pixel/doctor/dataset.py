"""A dataset's folder: its files, its pictures, and how they fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recbole_pixel.doctor.findings import ABSENT, BROKEN, DEGRADED, Finding

SAMPLE = 1000
"""Pictures that are read, at random, to see whether they can be and whether they differ."""

SHARED = 0.1
"""Share of them that are one picture from which it is likely a placeholder."""


def look(name: str, data_path: Path) -> Iterator[Finding]:
    """What is in the folder of a dataset.

    Args:
        name: of the dataset.
        data_path: the folder of all datasets.
    """
    topic, folder = f"Dataset {name}", data_path / name
    if not folder.is_dir():
        there = sorted(path.parent.name for path in data_path.glob("*/*.inter"))
        remedy = f"There are {', '.join(there[:5]) or 'none'}; name their folder by --data_path, or convert one"
        yield Finding(topic, "folder", f"{folder} is not there", BROKEN, remedy)
        return
    items: list[str] = []
    try:
        items, n_rows = _items_of(folder / f"{name}.inter")
        yield Finding(topic, f"{name}.inter", f"{n_rows:,} interactions, {len(items):,} items")
    except (OSError, ValueError) as error:
        yield Finding(topic, f"{name}.inter", str(error), BROKEN, "Make it with `recbole-pixel convert`")
    item_file = folder / f"{name}.item"
    yield (
        Finding(topic, f"{name}.item", "there")
        if item_file.is_file()
        else Finding(topic, f"{name}.item", "not there: items have no titles, and no text", ABSENT)
    )
    yield from _pictures(topic, folder / "images.lmdb", items)


def _items_of(path: Path) -> tuple[list[str], int]:
    """The distinct items of an .inter file, and how many lines name one."""
    with path.open(encoding="utf-8-sig", newline="\n") as stream:
        header = stream.readline().rstrip("\r\n").split("\t")
        if "item_id:token" not in header:
            raise ValueError(f"its columns are {header}, expected item_id:token among them, separated by tabs")
        column, counts = header.index("item_id:token"), Counter[str]()
        for line in stream:
            row = line.rstrip("\r\n").split("\t")
            if len(row) > column:
                counts[row[column]] += 1
    return list(counts), counts.total()


def _pictures(topic: str, path: Path, items: list[str]) -> Iterator[Finding]:
    if not path.exists():
        remedy = f"recbole-pixel images build --source FOLDER --out {path}; without, --item_tower=id runs"
        yield Finding(topic, "pictures", f"no store at {path}", DEGRADED, remedy)
        return
    try:
        from recbole_pixel.store import ImageStore

        store: Any = ImageStore(path)
        tokens = set(store.tokens())
    except ImportError as error:
        yield Finding(topic, "pictures", f"cannot be looked at: {error}", BROKEN, "See above")
        return
    except (OSError, ValueError, LookupError) as error:
        yield Finding(topic, "pictures", str(error), BROKEN, "See `recbole-pixel images check --deep`")
        return
    yield Finding(topic, "pictures", f"{len(tokens):,} in {path}")
    yield _coverage(topic, items, tokens)
    yield _shared(topic, store, [item for item in items if item in tokens])


def _coverage(topic: str, items: list[str], tokens: set[str]) -> Finding:
    missing = [item for item in items if item not in tokens]
    value = f"{len(items) - len(missing):,} of {len(items):,} items have one"
    if not missing:
        return Finding(topic, "coverage", value)
    remedy = f"Missing e.g. {', '.join(missing[:3])}: set missing_image to mean, learnt or drop, or get them"
    return Finding(topic, "coverage", value, DEGRADED, remedy)


def _shared(topic: str, store: Any, items: list[str]) -> Finding:
    from recbole_pixel.health.pictures import largest_group, sampled

    some = sampled(items, 0, SAMPLE) if items else []
    try:
        shared = largest_group(some, store.read)
    except (OSError, ValueError, LookupError) as error:
        return Finding(topic, "read", str(error), BROKEN, "See `recbole-pixel images check --deep`")
    value = f"{len(some):,} read; at most {len(shared)} of them are one picture"
    if len(shared) > max(1, SHARED * len(some)):
        remedy = f"Likely a placeholder, of {', '.join(shared[:3])} and others: leave it out, and set missing_image"
        return Finding(topic, "read", value, DEGRADED, remedy)
    return Finding(topic, "read", value)

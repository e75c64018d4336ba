"""The pictures, or features, that items come with: how many items have none, and how many share one."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Collection, Sequence

import numpy as np

from recbole_pixel.health.notes import Notes
from recbole_pixel.health.parts import named

MISSING = 0.5
"""Share of items without a picture from which a stand-in is what the model mostly sees."""

SHARED = 0.1
"""Share of the items that have one and the same picture from which it is likely a placeholder."""

SAMPLE = 256
"""Items whose pictures are read, at random: a tenth of them is 26, give or take 5."""

FEWEST = 10
"""Items that share a picture at least: in smaller samples a tenth is one."""


def tell_missing(notes: Notes, items: Sequence[str], known: Collection[str], what: str, setting: str) -> None:
    """Tells where most items have no picture of their own.

    Args:
        notes: where to tell.
        items: tokens of all items.
        known: tokens of those that have one.
        what: pictures, or stored features.
        setting: ``missing_image`` and its value.
    """
    there = set(known)
    missing = [token for token in items if token not in there]
    if len(missing) > MISSING * len(items):
        notes.tell(
            "pictures_missing",
            f"{len(missing)} of {len(items)} items have no {what}, e.g. {named(missing)}, and {setting} stands in for "
            f"them: the model sees little else. Get them (`recbole-pixel images download`), or leave these items out: "
            f"missing_image: drop",
        )


def tell_shared(notes: Notes, shared: Sequence[str], n_sampled: int) -> None:
    """Tells where one picture is that of many items.

    Args:
        notes: where to tell.
        shared: the items of a sample that share one, see :func:`largest_group`.
        n_sampled: items in the sample.
    """
    if len(shared) >= FEWEST and len(shared) > SHARED * n_sampled:
        notes.tell(
            "pictures_shared",
            f"{len(shared)} of {n_sampled} items have one and the same picture, e.g. {named(shared)}: likely a "
            f"placeholder, which says nothing of any of them. Delete it from the source, build the store again, and "
            f"set missing_image",
        )


def sampled(items: Sequence[str], seed: int, n_items: int = SAMPLE) -> list[str]:
    """Some of the items, at random, in their order; all of them where they are no more than ``n_items``."""
    chosen = np.random.default_rng(seed).choice(len(items), min(n_items, len(items)), replace=False)
    return [items[place] for place in np.sort(chosen)]


def largest_group(items: Sequence[str], read: Callable[[str], bytes]) -> list[str]:
    """The items that share the picture that most of them have, byte by byte; one item where no two share any.

    Args:
        items: tokens.
        read: the stored picture of one.
    """
    sums = {token: zlib.crc32(read(token)) for token in items}
    most = Counter(sums.values()).most_common(1)
    return [token for token in items if sums[token] == most[0][0]] if most else []

"""The address of an item's main picture, in each of the shapes in which Amazon's metadata hold it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SIZES = ("hi_res", "large", "thumb")
"""Sizes of the 2023 edition, the best first."""

_PLACEHOLDERS = ("/no-img", "/no_image", "/no-image")


def main_picture(record: dict[str, Any]) -> str:
    """The address of the picture; empty if there is none.

    2023: the variant MAIN, or else the first that has an address, at its largest. 2018: the first in
    `imageURLHighRes`, or else in `imageURL` (`image` in early files). 2014: `imUrl`.
    """
    return next(_candidates(record), "")


def is_placeholder(address: str) -> bool:
    """Whether the address is that of the sign that says that there is no picture."""
    return any(name in address for name in _PLACEHOLDERS)


def _candidates(record: dict[str, Any]) -> Iterator[str]:
    shots = _shots(record.get("images"))
    for shot in sorted(shots, key=lambda shot: shot.get("variant") != "MAIN"):
        yield from filter(None, (_address(shot.get(size)) for size in SIZES))
    for field in ("imageURLHighRes", "imageURL", "image", "imUrl"):
        value = record.get(field)
        yield from filter(None, map(_address, value if isinstance(value, list) else [value]))


def _shots(images: Any) -> list[dict[str, Any]]:
    """The pictures of a 2023 record, one dictionary each, whether it holds a list of them or a dictionary of lists."""
    if isinstance(images, dict):
        lists = {name: values for name, values in images.items() if isinstance(values, list)}
        n = max(map(len, lists.values()), default=0)
        images = [{name: values[row] for name, values in lists.items() if row < len(values)} for row in range(n)]
    return [shot for shot in images if isinstance(shot, dict)] if isinstance(images, list) else []


def _address(value: Any) -> str:
    text = value.strip() if isinstance(value, str) else ""
    return text if text.startswith(("http://", "https://")) and text.isprintable() and " " not in text else ""

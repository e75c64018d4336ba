"""What Amazon's metadata spell in many ways, as one: plain text, prices, categories."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

_TAG = re.compile(r"</?[A-Za-z!][^<>]*>")
_SCRIPTS = ("getTime()", "var aPageStart", "<script")
_PRICE = re.compile(r"(?:from\s+)?\$?\s*(\d[\d,]*(?:\.\d+)?|\.\d+)(?:\s*-\s*\$?\s*\d[\d,]*(?:\.\d+)?)?", re.IGNORECASE)


def plain_text(value: Any) -> str:
    """The text of a string, or of each in a list, without tags, character references and runs of blanks."""
    if isinstance(value, (list, tuple)):
        return " ".join(part for part in map(plain_text, value) if part)
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        return ""
    text = _TAG.sub(" ", html.unescape(str(value)))
    # A half of a surrogate pair, which JSON can spell, cannot be written.
    return " ".join(text.encode("utf-8", "ignore").decode("utf-8").split())


def is_script(value: Any) -> bool:
    """Whether a title is a piece of the page's program, as thousands of the 2018 edition are."""
    return isinstance(value, str) and any(piece in value for piece in _SCRIPTS)


def price(value: Any) -> str:
    """The number of a price such as 12.99, "$1,299.00", "from 7.50" or, of a range, the lower; else what was there.

    What is no price stays as it is, so that who reads the column as numbers can count it.
    """
    text = plain_text(value)
    found = _PRICE.fullmatch(text)
    return found[1].replace(",", "") if found else text


def categories(*sources: Any) -> str:
    """The categories in the first source that has any, as words: "Gift Cards" becomes `Gift_Cards`, each once.

    Args:
        sources: a list, a list of paths (each a list), or one string.
    """
    for source in sources:
        words = ["_".join(plain_text(name).split()) for name in _flat(source)]
        if unique := list(dict.fromkeys(word for word in words if word)):
            return " ".join(unique)
    return ""


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from _flat(part)
    elif value is not None:
        yield value

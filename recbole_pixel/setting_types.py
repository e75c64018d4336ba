"""What a setting's value may be, as the YAML that sets its default says: ``key: value   # (int, auto) meaning``."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "bool": ("True or False", lambda value: isinstance(value, bool)),
    "int": ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "float": ("a number", lambda value: isinstance(value, (int, float)) and not isinstance(value, bool)),
    "list": ("a list", lambda value: isinstance(value, list)),
    "dict": ("a mapping such as {name: 1.0}", lambda value: isinstance(value, dict)),
    "str": ("text", lambda value: not isinstance(value, (list, dict, bool))),
}
NOTHING = "~"
"""Stands for None among the types of a key: its default, or what its comment says of it."""

COUNTED = {"bool", "int", "float", "auto", "all"}
"""Types of keys that the code calculates with: None is an error there, unless the key is documented to take it."""

_DOCUMENTED = re.compile(r"^([A-Za-z_]\w*)\s*:(.*?)#\s*\(([\w, ]+)\)(.*)", flags=re.MULTILINE)


@cache
def documented_types(folder: Path) -> dict[str, tuple[str, ...]]:
    """The types of each key, :data:`NOTHING` among them, from ``overall.yaml`` and the YAML of models in ``folder``."""
    types: dict[str, tuple[str, ...]] = {}
    for path in (folder / "overall.yaml", *sorted((folder / "model").glob("*.yaml"))):
        for key, default, kinds, meaning in _DOCUMENTED.findall(path.read_text(encoding="utf-8")):
            known = types.setdefault(key, tuple(kind.strip() for kind in kinds.split(",")))
            if NOTHING in default + meaning and NOTHING not in known:
                types[key] = (*known, NOTHING)
    return types


def mismatch(kinds: tuple[str, ...], value: Any) -> str:
    """What was expected where ``value`` is of none of ``kinds``, empty where it is.

    Args:
        kinds: names of :data:`TYPES`, words that stand for themselves, or :data:`NOTHING`.
        value: as YAML read it.
    """
    if value is None and (NOTHING in kinds or not COUNTED.issuperset(kinds)):
        return ""
    if any(TYPES[kind][1](value) if kind in TYPES else value == kind for kind in kinds):
        return ""
    names = [TYPES[kind][0] if kind in TYPES else kind for kind in kinds if kind != NOTHING]
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)

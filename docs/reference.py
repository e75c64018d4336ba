"""Builds the API reference: HTML of the docstrings of what docs/api.md names.

    python docs/reference.py [FOLDER]       FOLDER is build/docs by default

A reference that cannot be resolved ends it with an error.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

PAGE = Path(__file__).with_name("api.md")


def public_names() -> list[str]:
    """The dotted names in the tables of docs/api.md."""
    return re.findall(r"^\| `([\w.]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def found(name: str) -> tuple[ModuleType, Any]:
    """The module that a dotted name is documented in, and what it names; a package's own member before a module in it.

    Raises:
        AttributeError: there is nothing of that name.
    """
    first, *rest = name.split(".")
    module = value = importlib.import_module(first)
    for part in rest:
        if isinstance(value, ModuleType) and not hasattr(value, part):
            with contextlib.suppress(ModuleNotFoundError):
                importlib.import_module(f"{value.__name__}.{part}")
        value = getattr(value, part)
        module = value if isinstance(value, ModuleType) else module
    return module, value


def only(modules: list[str]) -> Iterator[str]:
    """What pdoc calls these modules, without what lies below each of them."""
    for module in sorted(modules):
        yield module
        yield f"!{re.escape(module)}[.].+"


def let_hints_be_read(module: ModuleType) -> None:
    """Says where the constructors of named tuples are from: Python does not, and pdoc reads their hints there."""
    for value in vars(module).values():
        if isinstance(value, type) and hasattr(value, "_fields"):
            value.__new__.__module__ = value.__module__


def main() -> None:
    """Builds into the folder that is the first argument."""
    import pdoc
    import pdoc.render

    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "build/docs")
    modules = {module.__name__: module for module, _ in map(found, public_names())}
    for module in modules.values():
        let_hints_be_read(module)
    pdoc.render.configure(docformat="google", footer_text="recbole_pixel")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module="pdoc")
        pdoc.pdoc(*only(list(modules)), output_directory=folder)
    print(f"{len(modules)} modules: {folder / 'index.html'}")


if __name__ == "__main__":
    main()

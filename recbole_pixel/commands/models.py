"""``recbole-pixel models``: what can be trained, and what each model takes; read from the classes."""

from __future__ import annotations

import argparse
import inspect
import json
import re
from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from recbole_pixel.result_table import markdown_table

COLUMNS = ("name", "kind", "parent", "item_tower", "train_rows", "loss_type", "description", "paper")
STOCK_FOLDERS = ("general_recommender", "sequential_recommender")
"""Where RecBole's own models lie that run by our command: on user-item pairs and on histories."""

_CITATION = re.compile(r'([A-Z][^":.;]*(?:al\.)?): "(.+?)", ([^;.,]*\d{4})')


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "models",
        help="list models, what their items can be made of, and how they train",
        description="Lists this package's models, with the values of item_tower, train_rows and loss_type that each "
        "takes; of the last two, the first is the default.",
    )
    parser.add_argument("--stock", action="store_true", help="RecBole's own models that run by the same command")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(func=run)


def run(namespace: argparse.Namespace) -> int:
    """Prints the list."""
    entries = list(stock_models() if namespace.stock else our_models())
    if namespace.json:
        print(json.dumps(entries, indent=2))
        return 0
    columns = [column for column in COLUMNS if column in entries[0]]
    print(markdown_table([columns, *([_cell(entry[column]) for column in columns] for entry in entries)]))
    return 0


def our_models() -> Iterator[dict[str, Any]]:
    """Our models: name, kind, RecBole parent, what they take, and what they are."""
    import recbole.model  # noqa: F401 - registers them

    from recbole_pixel.registry import BASELINES, MODELS

    for name, folder in {**MODELS, **BASELINES}.items():
        model_class = getattr(import_module(f"recbole_pixel.model.{folder}.{name.lower()}"), name)
        yield {
            "name": name,
            "kind": folder.removesuffix("_recommender"),
            "parent": _recbole_parent(model_class),
            "item_tower": list(getattr(model_class, "towers", ())),
            "train_rows": list(getattr(model_class, "row_kinds", ())),
            "loss_type": list(getattr(model_class, "loss_types", ())),
            "description": _first_sentence(model_class),
            "paper": _paper(model_class),
        }


def stock_models() -> Iterator[dict[str, Any]]:
    """RecBole's own general, sequential and traditional (counted, not trained) models: name and kind."""
    for folder in STOCK_FOLDERS:
        package = import_module(f"recbole.model.{folder}")
        for info in iter_modules(package.__path__):
            module = import_module(f"{package.__name__}.{info.name}")
            for name, value in vars(module).items():
                if inspect.isclass(value) and value.__module__ == module.__name__ and name.lower() == info.name:
                    yield {"name": name, "kind": _recbole_kind(value)}


def _recbole_parent(model_class: type) -> str | None:
    """The nearest class of RecBole that is a model; None where there are only its abstract ones."""
    for base in model_class.__mro__:
        if base.__module__.startswith("recbole.model."):
            return None if base.__module__.endswith("abstract_recommender") else base.__name__
    return None


def _recbole_kind(model_class: Any) -> str:
    return model_class.type.name.lower()


def _first_sentence(model_class: type) -> str:
    return " ".join((model_class.__doc__ or "").split("\n\n")[0].split()).replace("``", "")


def _paper(model_class: type) -> str | None:
    """The first citation in the head of the model's file."""
    head = " ".join((inspect.getmodule(model_class).__doc__ or "").split())
    found = _CITATION.search(head.partition(". ")[2])
    return None if found is None else f'{found[1]}: "{found[2]}", {found[3]}'


def _cell(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else value or ""

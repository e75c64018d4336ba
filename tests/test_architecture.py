"""Which room may import which: read from the sources, and seen in a fresh process."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import recbole_pixel

PACKAGE = Path(recbole_pixel.__file__).parent
ROOT = PACKAGE.parent

NO_LEARNING = {"torch", "timm", "torchvision", "recbole", "transformers", "peft"}
EDGES = {"convert", "report", "serve", "tuning", "commands", "cli", "doctor", "result_table"}
ABOVE_MODEL = {
    "config", "config_files", "command_config", "setting_types", "registry", "trainer", "training", "checkpoint",
    "run_state", "resumable", "resuming", "kept_states",
    "evaluation", "health", "quick_start", "_compat", *EDGES,
}  # fmt: skip

# room -> what it must not import: packages, and rooms of ours (first part behind `recbole_pixel.`)
FORBIDDEN: dict[str, tuple[set[str], set[str]]] = {
    "table_faults": (
        {"numpy", "polars", "pandas", *NO_LEARNING},
        {"store", "features", "encoder", "item_tower", "catalogue", "data", "model", *ABOVE_MODEL},
    ),
    "store": (NO_LEARNING, {"features", "encoder", "item_tower", "catalogue", "data", "model", *ABOVE_MODEL}),
    "convert": (
        NO_LEARNING,
        {"features", "encoder", "item_tower", "catalogue", "data", "model", *ABOVE_MODEL - {"convert"}},
    ),
    "encoder": ({"recbole"}, {"features", "item_tower", "catalogue", "data", "model", *ABOVE_MODEL}),
    "catalogue": ({"recbole"}, {"features", "item_tower", "data", "model", *ABOVE_MODEL}),
    "objective": ({"recbole"}, {"item_tower", "features", "data", "model", *ABOVE_MODEL}),
    "collisions": ({"recbole"}, {"item_tower", "features", "data", "model", *ABOVE_MODEL}),
    "pending_scores": ({"recbole"}, {"item_tower", "features", "data", "model", *ABOVE_MODEL}),
    "unmade_products": ({"recbole"}, {"item_tower", "features", "data", "model", *ABOVE_MODEL}),
    "gradient_cache": ({"recbole"}, {"item_tower", "features", "data", "model", *ABOVE_MODEL}),
    "score_chunks": ({"recbole"}, {"item_tower", "features", "data", "model", *ABOVE_MODEL}),
    "tower": ({"recbole"}, {"features", "item_tower", "data", "model", *ABOVE_MODEL}),
    "own_vectors": ({"recbole"}, {"item_tower", "features", "data", "model", *ABOVE_MODEL}),
    "item_tower": ({"recbole"}, {"features", "data", "model", *ABOVE_MODEL}),
    "distributed": (
        {"recbole", "timm"},
        {"store", "encoder", "catalogue", "tower", "item_tower", "features", "data", "model", *ABOVE_MODEL},
    ),
    "parallel": ({"recbole", "timm"}, {"store", "data", "model", *ABOVE_MODEL}),
    "launcher": (NO_LEARNING, {"data", "model", *ABOVE_MODEL}),
    "interrupts": (NO_LEARNING, {"data", "model", *ABOVE_MODEL}),
    "random_state": ({"recbole"}, {"data", "model", *ABOVE_MODEL}),
    "whole_files": ({"recbole"}, {"data", "model", *ABOVE_MODEL}),
    "kept_states": ({"recbole"}, {"data", "model", *ABOVE_MODEL - {"checkpoint"}}),
    "run_state": (set(), {"model", "quick_start", *EDGES}),
    "resumable": (set(), {"model", "quick_start", *EDGES}),
    "resuming": (set(), {"model", "trainer", "quick_start", *EDGES}),
    "data": (set(), {"features", "model", *ABOVE_MODEL}),
    "features": ({"recbole"}, {"item_tower", "catalogue", "model", *ABOVE_MODEL}),
    "model": (set(), ABOVE_MODEL),
    "training": ({"recbole"}, {"data", "model", *EDGES}),
    "evaluation": (set(), {"model", "quick_start", *EDGES}),
    "health": (set(), {"model", "trainer", "quick_start", *EDGES}),
    "doctor": (NO_LEARNING, {"data", "model", *ABOVE_MODEL - {"doctor", "health"}}),
    "trainer": (set(), {"model", "quick_start", *EDGES}),
    "config": (set(), {"model", "trainer", "quick_start", *EDGES}),
    "serve": (set(), {"convert", "report", "commands", "cli"}),
    "result_table": (NO_LEARNING, {"data", "model"}),
    "terminal": (NO_LEARNING, {"store", "data", "model", *ABOVE_MODEL}),
    "foreign_pickles": (NO_LEARNING, {"store", "data", "model", *ABOVE_MODEL}),
    "_compat_settings": ({"torch", "timm", "transformers", "peft"}, {"store", "data", "model", *ABOVE_MODEL}),
}


def sources(room: str) -> list[Path]:
    folder, file = PACKAGE / room, PACKAGE / f"{room}.py"
    found = sorted(folder.rglob("*.py")) if folder.is_dir() else [file]
    assert all(path.is_file() for path in found), room
    assert found, room
    return found


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of what a file imports, also inside functions; not what is there for types only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


@pytest.mark.parametrize("room", FORBIDDEN)
def test_rooms_import_only_what_lies_above_them(room):
    packages, rooms = FORBIDDEN[room]
    wrong = []
    for path in sources(room):
        for line, name in imports(path):
            first, _, rest = name.partition(".")
            ours = rest.partition(".")[0] if first == "recbole_pixel" else ""
            if first in packages or ours in rooms:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong


def test_the_walk_sees_imports_wherever_they_are(tmp_path):
    path = tmp_path / "m.py"
    path.write_text(
        "from typing import TYPE_CHECKING\nimport a.b as c\nif TYPE_CHECKING:\n    import d\n"
        "def f():\n    from recbole_pixel.model import x\n"
    )
    assert [name for _, name in imports(path)] == ["typing.TYPE_CHECKING", "a.b", "recbole_pixel.model.x"]


def test_recboles_config_is_read_in_few_places():
    """Below config, quick start, trainer, data and the constructors of models: plain arguments."""
    for room in ("store", "convert", "encoder", "item_tower", "catalogue", "features", "training"):
        for path in sources(room):
            assert 'config["' not in path.read_text(encoding="utf-8"), path


def test_no_file_is_a_drawer_for_everything_and_none_is_long():
    for path in PACKAGE.rglob("*.py"):
        assert path.stem not in {"utils", "util", "helper", "helpers", "misc", "common"}, path
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 300, path


def test_every_module_and_what_is_public_in_it_says_what_it_is_for():
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), path
        public = [
            node for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name[0] != "_"
        ]
        public += [
            method
            for owner in public
            if isinstance(owner, ast.ClassDef)
            for method in owner.body
            if isinstance(method, ast.FunctionDef) and method.name[0] != "_"
        ]
        for node in public:
            assert ast.get_docstring(node), f"{path.relative_to(ROOT)}: {node.name} has no docstring"


def test_stores_converters_and_the_command_line_start_without_torch():
    code = (
        "import sys, recbole_pixel.convert, recbole_pixel.store, recbole_pixel.cli, recbole_pixel.commands.images\n"
        "recbole_pixel.cli._parser()\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & set(sys.argv[1:])))"
    )
    done = subprocess.run([sys.executable, "-c", code, *NO_LEARNING], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr

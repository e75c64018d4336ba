"""Runs an action right after RecBole's top-level package has been imported, whoever imports it, and once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

INSTALL_LINES = "pip install recbole-pixel\n    pip install --no-deps recbole==1.2.1"


def run_after_import(name: str, action: Callable[[], None]) -> None:
    """Calls `action` now if the package `name` is imported already, otherwise right after its import.

    Where it is not installed, its import raises ModuleNotFoundError with the lines that install it.
    """
    if name in sys.modules:
        action()
    else:
        sys.meta_path.insert(0, _AfterImport(name, action))


def _absent(name: str) -> ModuleNotFoundError:
    message = (
        f"recbole_pixel is a plugin for RecBole, and the package {name!r} is not installed. Install both with\n"
        f"    {INSTALL_LINES}\n"
        "(--no-deps because RecBole's own pins cannot be met today; recbole-pixel brings what it needs)."
    )
    return ModuleNotFoundError(message, name=name)


class _AfterImport(MetaPathFinder):
    """Finds one module through the other finders, and has its loader call `action` once the module has run."""

    def __init__(self, name: str, action: Callable[[], None]) -> None:
        self._name = name
        self._action = action

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec that the other finders give for our module, watched; None for every other module.

        Raises:
            ModuleNotFoundError: no other finder has it; says how to install it.
        """
        if fullname != self._name:
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is None:
            raise _absent(fullname)
        if spec.loader is not None:
            self._watch(spec.loader)
        return spec

    def _watch(self, loader: object) -> None:
        # An attribute of this one loader object, not a loader class of ours: importlib.resources, inspect and pickle
        # then find RecBole's genuine loader.
        execute = loader.exec_module  # type: ignore[attr-defined]

        def execute_then_act(module: ModuleType) -> None:
            vars(loader).pop("exec_module", None)
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
                self._action()

        loader.exec_module = execute_then_act  # type: ignore[attr-defined]

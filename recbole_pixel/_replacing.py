"""Three ways to replace one name for few callers, which `_compat` mends RecBole with."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_swapping = threading.RLock()
_replaced: set[tuple[Any, str, Any]] = set()


class Overlay(ModuleType):
    """A module under a few other values: what one module of RecBole sees as `torch`, while all others see torch."""

    def __init__(self, beneath: ModuleType, **values: Any) -> None:
        super().__init__(beneath.__name__, beneath.__doc__)
        self.__dict__.update(values)
        self._beneath = beneath

    def __getattr__(self, name: str) -> Any:
        return getattr(self._beneath, name)


@contextmanager
def swapped(owner: Any, name: str, replacement: Callable[..., Any]) -> Iterator[None]:
    """Makes `owner.name` the replacement inside the block; other threads that call it get the original.

    For short blocks: one at a time in a process.
    """
    with _swapping:
        original = getattr(owner, name)
        thread = threading.get_ident()

        @functools.wraps(original)
        def by_thread(*args: Any, **kwargs: Any) -> Any:
            return (replacement if threading.get_ident() == thread else original)(*args, **kwargs)

        setattr(owner, name, by_thread)
        try:
            yield
        finally:
            setattr(owner, name, original)


@contextmanager
def stubbed(*names: str, **attributes: Any) -> Iterator[None]:
    """Puts empty modules of these names, with the attributes, in `sys.modules` inside the block.

    They are packages with a spec, so that `importlib.util.find_spec` and `from a.b import c` work on them.
    """
    before = {name: sys.modules[name] for name in names if name in sys.modules}
    for name in names:
        stub = ModuleType(name)
        stub.__spec__ = ModuleSpec(name, None, is_package=True)
        stub.__path__ = []
        stub.__dict__.update(attributes)
        parent, _, child = name.rpartition(".")
        if parent in names:
            setattr(sys.modules[parent], child, stub)
        sys.modules[name] = stub
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(before)


def surround(owner: Any, name: str, scope: Callable[..., AbstractContextManager[Any]]) -> None:
    """Runs the function `owner.name` inside `scope(*its arguments)`, from now on; a second call changes nothing."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def surrounded(*args: Any, **kwargs: Any) -> Any:
        with scope(*args, **kwargs):
            return original(*args, **kwargs)

    replace_once(owner, name, surrounded, key=scope)


def replace_once(owner: Any, name: str, replacement: Any, key: Any = None) -> None:
    """Sets `owner.name`, unless the same function of ours, known by its code or by `key`, has been set there before."""
    done = (owner, name, key or replacement.__code__)
    if done not in _replaced:
        _replaced.add(done)
        setattr(owner, name, replacement)

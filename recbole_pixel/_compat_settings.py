"""RecBole's settings, which it evaluates as Python code, read as literals and sums."""

from __future__ import annotations

import ast
import importlib
import operator
from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from logging import getLogger
from types import ModuleType
from typing import Any

import yaml

from recbole_pixel._replacing import Overlay

MAX_TEXT = 100_000
MAX_BITS = 1024
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
    ast.UAdd: operator.pos, ast.USub: operator.neg,
}  # fmt: skip


class NotLiteralError(NameError):
    """A text is no literal; RecBole takes what raises NameError for text."""


def literal(text: str) -> Any:
    """The number, text, list, tuple, dict, set, bool or None that ``text`` writes out in Python; sums are reckoned.

    Raises:
        NotLiteralError: it is anything else, such as a name, a call, or a number of more than 1,024 bits.
    """
    if len(text) > MAX_TEXT:
        raise NotLiteralError(f"{len(text):,} characters, more than {MAX_TEXT:,}")
    try:
        return _value(ast.parse(text.strip(), mode="eval").body)
    except NotLiteralError:
        raise
    except (SyntaxError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError) as error:
        raise NotLiteralError(f"no literal: {error}") from error


def _value(node: ast.AST) -> Any:
    if isinstance(node, (ast.UnaryOp, ast.BinOp)) and type(node.op) in _OPERATORS:
        parts = [node.operand] if isinstance(node, ast.UnaryOp) else [node.left, node.right]
        return _reckoned(_OPERATORS[type(node.op)], [_value(part) for part in parts])
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        kind = {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)]
        return kind([_value(part) for part in node.elts])
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_value(key): _value(value) for key, value in zip(node.keys, node.values, strict=True) if key}
    if isinstance(node, ast.Constant):
        return node.value
    raise NotLiteralError(f"{type(node).__name__} is no literal")


def _reckoned(operation: Callable[..., Any], numbers: list[Any]) -> Any:
    if not all(isinstance(number, (int, float)) for number in numbers):
        raise NotLiteralError("only numbers are reckoned with")
    if operation is operator.pow and max(1, abs(numbers[1])) * max(1, abs(numbers[0])) ** 0.5 > MAX_BITS:
        raise NotLiteralError("too large a power")
    result = operation(*numbers)
    if isinstance(result, int) and result.bit_length() > MAX_BITS:
        raise NotLiteralError("too large a number")
    return result


def read_setting(text: str) -> Any:
    """As :func:`literal`; what RecBole would have run as code is named in the log."""
    try:
        return literal(text)
    except NotLiteralError:
        if _would_run(text):
            shown = ascii(text if len(text) < 100 else f"{text[:100]}...")
            getLogger().warning("a setting is taken as the text %s: settings are not run as code", shown)
        raise


def _would_run(text: str) -> bool:
    """Whether a text is a Python expression that calls something or, without a name in it, computes something."""
    try:
        nodes = list(ast.walk(ast.parse(text.strip(), mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(isinstance(node, ast.Call) for node in nodes) or not any(isinstance(node, ast.Name) for node in nodes)


def read_choices(text: str) -> Any:
    """The values of a search for settings, as :func:`literal`.

    Raises:
        ValueError: they are not written out.
    """
    try:
        return literal(text)
    except NotLiteralError as error:
        raise ValueError(f"the values {text[:100]!r} are no list such as [1,2,3] ({error}); code is not run") from error


class SettingsLoader(yaml.SafeLoader):
    """Plain values from YAML, and tuples, which RecBole's loader makes too; any Python object is refused."""

    @classmethod
    def add_implicit_resolver(cls, tag: str, regexp: Any, first: list[str]) -> None:
        """What RecBole adds with each Config, the same again and again, is added once."""
        if (tag, regexp) not in cls.yaml_implicit_resolvers.get(first[0], ()):
            super().add_implicit_resolver(tag, regexp, first)

    def construct_tuple(self, node: Any) -> tuple[Any, ...]:
        """The values of a sequence."""
        return tuple(self.construct_sequence(node, deep=True))


SettingsLoader.add_constructor("tag:yaml.org,2002:python/tuple", SettingsLoader.construct_tuple)


@lru_cache(maxsize=256)
def _parsed(text: str) -> Any:
    return yaml.load(text, SettingsLoader)


def load_settings(stream: Any, Loader: object = None) -> Any:
    """As ``yaml.load``, by SettingsLoader whatever is asked for; each text is parsed once."""
    return deepcopy(_parsed(stream if isinstance(stream, str) else stream.read()))


def evaluate_no_settings() -> None:
    """configurator.py `Config._convert_config_dict`, hyper_tuning.py and kd_dagfm.py give settings to `eval`.

    Each module gets an `eval` of its own, which reads literals. configurator.py's YAML loader gives out any object of
    an imported module by its name.
    """
    from recbole.config import configurator
    from recbole.trainer import hyper_tuning

    teachers: Any = importlib.import_module("recbole.model.context_aware_recommender.kd_dagfm")
    if isinstance(configurator.yaml, Overlay):
        return
    configurator.eval = read_setting
    configurator.yaml = Overlay(yaml, FullLoader=SettingsLoader, load=load_settings)
    hyper_tuning.eval = read_choices
    teachers.eval = lambda name: _class_of(teachers, name)


def _class_of(module: ModuleType, name: str) -> Any:
    """The class that a module of RecBole has by a name.

    Raises:
        ValueError: it defines none.
    """
    found = vars(module).get(name)
    if not isinstance(found, type) or found.__module__ != module.__name__:
        known = [key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        raise ValueError(f"{name!r} is none of the networks of {module.__name__}: {', '.join(sorted(known))}")
    return found

"""What a search chooses from: RecBole's files of hyper-parameter ranges, or ``NAME=KIND:ARGUMENTS``."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from recbole_pixel.config_files import Loader, SettingError, nearest

Point = Mapping[str, float]
"""Where in a space a trial is: of each :class:`Choice` the index, of all others the value."""


class Choice(NamedTuple):
    """One of ``values``."""

    values: tuple[Any, ...]


class Uniform(NamedTuple):
    """Any number from ``low`` to ``high``."""

    low: float
    high: float


class LogUniform(NamedTuple):
    """Any number from ``low`` to ``high``, its logarithm drawn evenly."""

    low: float
    high: float


class Steps(NamedTuple):
    """The multiples of ``step`` that numbers from ``low`` to ``high`` are nearest to, as hyperopt's quniform."""

    low: float
    high: float
    step: float

    @property
    def counts(self) -> range:
        """How many steps each of them is."""
        return range(round(self.low / self.step), round(self.high / self.step) + 1)


Dimension = Choice | Uniform | LogUniform | Steps
Space = Mapping[str, Dimension]
KINDS = ("choice", "uniform", "loguniform", "quniform")


def read_space(path: Path) -> dict[str, Dimension]:
    """The ranges in a file in the format of RecBole's HyperTuning: a line ``NAME KIND ARGUMENTS`` each.

    Kinds are ``choice [64,128]``, ``uniform 0,0.5``, ``quniform 16,128,16`` and ``loguniform -8,-4``, whose bounds are
    natural logarithms, as hyperopt has them.

    Raises:
        FileNotFoundError: there is no such file.
        SettingError: a line is not of that form.
    """
    space: dict[str, Dimension] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        where = f"{path}, line {number}"
        if len(words) < 3:
            raise SettingError(f"{where}: expected NAME KIND ARGUMENTS, such as `learning_rate loguniform -8,-4`")
        if words[0] in space:
            raise SettingError(f"{where}: {words[0]} stands twice")
        space[words[0]] = _dimension(words[1], "".join(words[2:]), where, _literal, math.exp)
    if not space:
        raise SettingError(f"{path} holds no ranges; expected lines such as `learning_rate loguniform -8,-4`")
    return space


def parse_param(text: str) -> tuple[str, Dimension]:
    """``NAME=KIND:ARGUMENTS``, such as ``learning_rate=loguniform:1e-4,1e-2``, bounds being the values themselves.

    Raises:
        SettingError: it is not of that form.
    """
    name, equals, rest = text.partition("=")
    kind, colon, arguments = rest.partition(":")
    if not equals or not colon:
        raise SettingError(
            f"--param {text!r}: expected NAME=KIND:ARGUMENTS, such as learning_rate=loguniform:1e-4,1e-2"
        )
    return name, _dimension(kind, arguments, f"--param {name}", _yaml_list, float)


def _dimension(
    kind: str, arguments: str, where: str, values: Callable[[str], Iterable[Any]], bound: Callable[[float], float]
) -> Dimension:
    if kind not in KINDS:
        raise SettingError(f"{where}: there is no kind {kind!r}; expected one of {', '.join(KINDS)}")
    try:
        if kind == "choice":
            return Choice(tuple(values(arguments)))
        numbers = [float(number) for number in arguments.split(",")]
    except (ValueError, SyntaxError, TypeError, yaml.YAMLError) as error:
        raise SettingError(f"{where}: cannot read {arguments!r} as {kind}: {' '.join(str(error).split())}") from error
    if len(numbers) != (3 if kind == "quniform" else 2) or numbers[0] >= numbers[1]:
        raise SettingError(f"{where}: {kind} is {arguments!r}; expected LOW,HIGH{',STEP' * (kind == 'quniform')}")
    if kind == "quniform":
        return _steps(numbers[0], numbers[1], numbers[2], where)
    if kind == "uniform":
        return Uniform(numbers[0], numbers[1])
    return _log_uniform(bound(numbers[0]), bound(numbers[1]), where)


def _steps(low: float, high: float, step: float, where: str) -> Steps:
    if step <= 0:
        raise SettingError(f"{where}: the step of quniform is {step}; expected more than 0")
    return Steps(low, high, step)


def _log_uniform(low: float, high: float, where: str) -> LogUniform:
    if low <= 0:
        raise SettingError(
            f"{where}: a loguniform begins at {low}; expected more than 0. The bounds are logarithms only in "
            f"RecBole's files"
        )
    return LogUniform(low, high)


def _literal(text: str) -> Iterable[Any]:
    """A Python list, whose strings RecBole would evaluate: they are read as YAML."""
    return [yaml.load(value, Loader) if isinstance(value, str) else value for value in _listed(ast.literal_eval(text))]


def _yaml_list(text: str) -> Iterable[Any]:
    return _listed(yaml.load(text if text.startswith("[") else f"[{text}]", Loader))


def _listed(values: Any) -> Sequence[Any]:
    if not isinstance(values, (list, tuple)) or not values:
        raise ValueError("expected a list of values")
    return values


def settings_at(space: Space, point: Point) -> dict[str, Any]:
    """The settings that a point stands for; whole multiples of whole steps are whole numbers."""
    return {name: _value(dimension, point[name]) for name, dimension in space.items()}


def _value(dimension: Dimension, at: float) -> Any:
    if isinstance(dimension, Choice):
        return dimension.values[int(at)]
    if isinstance(dimension, Steps):
        value = float(f"{round(at / dimension.step) * dimension.step:.12g}")  # 0.30000000000000004
        return int(value) if float(dimension.step).is_integer() else value
    return float(at)


def as_grid(space: Space) -> dict[str, Choice]:
    """The space with all its steps listed.

    Raises:
        SettingError: a range has no steps.
    """
    grid = {}
    for name, dimension in space.items():
        if isinstance(dimension, (Uniform, LogUniform)):
            raise SettingError(
                f"a grid cannot try all of {name}, which is any number of a range: use choice or quniform"
            )
        if isinstance(dimension, Steps):
            steps = (_value(dimension, count * dimension.step) for count in dimension.counts)
            dimension = Choice(tuple(steps))
        grid[name] = dimension
    return grid


def grid_size(grid: Mapping[str, Choice]) -> int:
    """How many points it has."""
    return math.prod(len(choice.values) for choice in grid.values())


def check_names(space: Space, known: Iterable[str], label: str) -> None:
    """Refuses ranges of settings that a model does not have.

    Raises:
        SettingError: names the nearest it has.
    """
    known = set(known)
    for name in space:
        if name not in known:
            raise SettingError(f"{label} has no setting {name!r} to search over{nearest(name, known)}")

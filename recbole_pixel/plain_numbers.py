"""Numbers that a model keeps as plain attributes, outside of its ``state_dict``: counts of steps, rising weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Number = bool | int | float


def plain_numbers(model: Any) -> dict[str, Number]:
    """The numbers among the attributes of ``model`` itself, but for whether it is in training mode."""
    return {name: value for name, value in vars(model).items() if _is_number(value) and name != "training"}


def changed_numbers(model: Any, before: Mapping[str, Number]) -> dict[str, Number]:
    """Those that are not as ``before``, which :func:`plain_numbers` gave."""
    return {name: value for name, value in plain_numbers(model).items() if name in before and value != before[name]}


def set_numbers(model: Any, numbers: Mapping[str, Number]) -> None:
    """Gives ``model`` the ``numbers`` that it has a number for; anything else in a file is passed over."""
    own = plain_numbers(model)
    for name, value in numbers.items():
        if name in own and _is_number(value):
            setattr(model, name, value)


def _is_number(value: object) -> bool:
    return type(value) in (bool, int, float)

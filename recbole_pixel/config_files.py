"""Settings files: YAML read as RecBole reads it, found by path or as a preset, and what a file says for one model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from recbole_pixel.properties_path import properties_dir

PER_MODEL = "per_model"
"""Key of a YAML file: settings for one model each, ``MODEL`` or ``MODEL:TOWER``, on top of the file's other ones."""


class SettingError(ValueError):
    """A setting that cannot be what the user meant."""


def is_name(text: object) -> bool:
    """Whether a text names a file or folder where it is put, and leads to no other place."""
    return (
        isinstance(text, str)
        and text not in ("", ".", "..")
        and not set("/\\").intersection(text)
        and text.isprintable()
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """``; the nearest is X``, or nothing where nothing is known."""
    by_lower = {entry.lower(): entry for entry in known}
    near = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.0)
    return f"; the nearest is {by_lower[near[0]]}" if near else ""


WITH_OWN = "+own_vectors"
"""Behind a tower in the keys of ``per_model``, as in ``PixelSASRec:image+own_vectors``."""


class Loader(yaml.SafeLoader):
    """YAML whose numbers are read as RecBole reads them (``1e-3`` is one)."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9_]+|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?$"),
    list("-+0123456789."),
)


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a YAML file.

    Raises:
        FileNotFoundError: there is none.
        SettingError: it is not YAML, or not a mapping.
    """
    try:
        settings = deepcopy(_parsed(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:  # ValueError: no UTF-8, or no such date
        raise SettingError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(settings or {}, dict):
        raise SettingError(f"{path} holds a {type(settings).__name__}; expected `key: value` lines")
    return settings or {}


@lru_cache(maxsize=256)
def _parsed(text: str) -> Any:
    """What a text says; a comparison of many runs reads the same files for each."""
    return yaml.load(text, Loader)


def find_config_file(name: str | Path) -> Path:
    """The file that ``name`` stands for: a path, or a preset of ours such as ``pixelrec``.

    Raises:
        FileNotFoundError: neither; names the nearest preset.
    """
    path, presets = Path(name).expanduser(), properties_dir() / "preset"
    if path.is_file():
        return path
    preset = presets / f"{path.stem}.yaml"
    if path.parent.parts in ((), ("preset",), ("properties", "preset")) and preset.is_file():
        return preset
    hint = nearest(path.stem, (known.stem for known in presets.glob("*.yaml")))
    raise FileNotFoundError(f"there is no settings file {str(name)!r}, and no preset of that name{hint}")


def settings_for(part: Mapping[str, Any], model: str, tower: str | None) -> dict[str, Any]:
    """What a file says for one model: its direct settings, on top those of the model, on top those of its tower."""
    own = part.get(PER_MODEL) or {}
    found = {key: value for key, value in part.items() if key != PER_MODEL}
    plain = (tower or "").removesuffix(WITH_OWN)
    for name in dict.fromkeys((model, f"{model}:{plain}", f"{model}:{tower}")):
        found |= own.get(name) or {}
    return found


def tower_in(parts: Iterable[Mapping[str, Any]], model: str) -> str | None:
    """The ``item_tower`` that the last of ``parts`` with one sets for ``model``, and ``+own_vectors`` with these."""
    settings: dict[str, Any] = {}
    for part in parts:
        given = settings_for(part, model, None)
        settings |= {key: given[key] for key in ("item_tower", "own_vectors") if given.get(key) is not None}
    tower = settings.get("item_tower") or None
    return f"{tower}{WITH_OWN}" if tower and settings.get("own_vectors") is True else tower

"""The settings of a run: those that differ from the defaults first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_pixel.checkpoint import plain_config
from recbole_pixel.config import make_config

PLACES = ("data_path", "checkpoint_dir", "model", "dataset")


def changed_settings(config: Any) -> dict[str, list[Any]]:
    """Keys whose values are not the model's and the dataset's defaults: each with its value and the default.

    Args:
        config: RecBole's.
    """
    own = plain_config(config)
    usual = plain_config(make_config(config["model"], config["dataset"], (), {"data_path": own["data_path"]}))
    keys = [key for key in own if own[key] != usual.get(key) and key not in PLACES]
    return {key: [own[key], usual.get(key)] for key in sorted(keys)}


def told(value: Any) -> str:
    """A value as YAML would have it, in short."""
    if value is None:
        return "~"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {told(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(told(entry) for entry in value) + "]"
    return str(value)

"""What ``--models`` names: models, each with its tower and settings of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from recbole_pixel.report.ablation import PICTURES, TEXTS

_BETWEEN = re.compile(r",(?![^\[{]*[\]}])")  # commas, but those within brackets
SHUFFLED = {"image": PICTURES, "features": PICTURES, "text": TEXTS}


class Entry(NamedTuple):
    """A row of a comparison.

    Attributes:
        label: what it is called.
        model: name.
        settings: of its own.
    """

    label: str
    model: str
    settings: dict[str, Any]

    @property
    def per_model(self) -> str:
        """Its key under ``per_model`` in a settings file."""
        return f"{self.model}:{self.settings['item_tower']}" if "item_tower" in self.settings else self.model


def parse_entries(text: str) -> list[Entry]:
    """The models between the commas of ``text``.

    Each is ``[LABEL=]MODEL[:TOWER[:shuffled]][:key=value ...]``, such as ``PixelSASRec:image:encoder=RN50`` or
    ``ours=PixelSASRec:image:tune=top:1``.

    Raises:
        SettingError: a model, a tower or a setting is not known.
        ValueError: two are called the same.
    """
    entries = [_parse(part.strip()) for part in _BETWEEN.split(text)]
    labels = [entry.label for entry in entries]
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise ValueError(f"two of the models are called {twice[0]!r}; put a label before one: LABEL={twice[0]}")
    return entries


def _parse(text: str) -> Entry:
    from recbole_pixel.config import check_model, check_settings

    head, *parts = text.split(":")
    label, named, model = head.rpartition("=")
    check_model(model)
    settings: dict[str, Any] = {}
    while parts and "=" not in parts[0]:
        settings.update(_of_word(parts.pop(0), model, settings, text))
    settings.update(_given(parts))
    check_settings(settings, text)
    return Entry(label if named else text, model, settings)


def _of_word(word: str, model: str, settings: Mapping[str, Any], text: str) -> dict[str, Any]:
    """The settings that a tower's name, or ``shuffled``, stands for."""
    from recbole_pixel.config_files import SettingError
    from recbole_pixel.registry import is_pixel_model

    if not is_pixel_model(model):
        raise SettingError(f"{text}: {model} has no item tower; leave out {word!r}")
    if word != "shuffled":
        return {"item_tower": word}
    tower = settings.get("item_tower")
    if tower not in SHUFFLED:
        raise SettingError(
            f"{text}: what is to be shuffled is clear behind {', '.join(SHUFFLED)}; elsewhere write "
            f"shuffle_images=True or shuffle_texts=True"
        )
    return SHUFFLED[tower]


def _given(parts: list[str]) -> dict[str, Any]:
    """Settings of ``key=value`` parts; one without ``=`` goes on with the value before it, as in ``tune=top:1``."""
    from recbole_pixel.commands.train import parse_settings

    joined: list[str] = []
    for part in parts:
        if "=" in part:
            joined.append(f"--{part}")
        else:
            joined[-1] += f":{part}"
    return parse_settings(joined)

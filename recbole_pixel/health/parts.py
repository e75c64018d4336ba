"""What a model's parameters belong to: an encoder, what stands behind it, or the recommender."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from recbole_pixel.terminal import harmless

ENCODER = "the encoder"


def part_of(name: str, item_table: str) -> str:
    """The part that the parameter ``name`` belongs to.

    Args:
        name: as ``named_parameters`` says.
        item_table: name of the model's item tower.
    """
    if not name.startswith(f"{item_table}."):
        return "the recommender"
    path = name.removeprefix(f"{item_table}.").split(".")
    if path[0] == "own":
        return "the recommender"
    if path[0] != "encoder":
        return "the projection"
    if path[1] == "encoders":
        return f"{ENCODER} of {path[2]}s"
    return "the projection" if path[1] in ("parts", "fusion") else ENCODER


def learning_parts(model: nn.Module, item_table: str) -> dict[str, dict[str, nn.Parameter]]:
    """The parameters that learn, by part and by name."""
    parts: dict[str, dict[str, nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parts.setdefault(part_of(name, item_table), {})[name] = parameter
    return parts


def named(names: Iterable[str], most: int = 3) -> str:
    """The first of some names, in words; codes that command a terminal are written out, as tokens may hold any."""
    listed = list(names)
    return harmless(", ".join(listed[:most])) + (f" and {len(listed) - most} more" if len(listed) > most else "")

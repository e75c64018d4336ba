"""Refuses numbers that no model can be made of, before one is: by the setting's name, and not by a tensor's shape."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

WIDTHS = (
    "embedding_size", "hidden_size", "inner_size", "attention_size", "visual_embedding_size", "encoder_chunk",
    "train_encoder_chunk", "accumulate_steps", "shared_negatives",
)  # fmt: skip
"""Settings of several models that count something; those that a model does not have are None."""


def check_counts(config: Any, keys: Iterable[str] = WIDTHS) -> None:
    """Refuses numbers below 1.

    Raises:
        ValueError: names the setting.
    """
    for key in keys:
        value = config[key]
        if isinstance(value, int) and value < 1:
            raise ValueError(f"{key} is {value}; expected 1 or more")


def check_shares(config: Any, keys: Iterable[str]) -> None:
    """Refuses numbers that are no chance and no share of anything.

    Raises:
        ValueError: names the setting.
    """
    for key in keys:
        if not 0 <= config[key] <= 1:
            raise ValueError(f"{key} is {config[key]}; expected from 0 to 1")


def check_missing(config: Any, towers: Iterable[str], model: str) -> None:
    """Refuses learnt vectors for missing pictures where a model does something of its own with stored features.

    Args:
        config: RecBole's.
        towers: values of ``item_tower`` that the model can work with.
        model: its name.

    Raises:
        ValueError: says what to do.
    """
    if config["missing_image"] == "learnt" and "image_text" not in towers:
        raise ValueError(f"missing_image is learnt, which {model} has no vector for; set it to mean or drop")


def check_own_vectors(config: Any, model: str, why_not: str = "") -> None:
    """Refuses vectors of their own for items that are trained on where there is nothing to set beside them.

    Args:
        config: RecBole's.
        model: its name.
        why_not: what it does in their place, if anything.

    Raises:
        ValueError: says what to do.
    """
    if config["item_tower"] == "id":
        why_not = "with item_tower id an item is its own vector already"
    if config["own_vectors"] and why_not:
        raise ValueError(f"own_vectors is True, but {model} cannot have them: {why_not}. Leave own_vectors out")

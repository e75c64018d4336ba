"""``item_tower: text``: what is written of an item."""

from __future__ import annotations

from typing import Any

from torch import nn

from recbole_pixel.data.texts import text_inputs
from recbole_pixel.encoder.text import TextEncoder
from recbole_pixel.item_tower import ItemTower
from recbole_pixel.model.stored_kind import StoredKind
from recbole_pixel.model.towers.configured import configured_tower, joint_tower, started


def text_encoder(config: Any) -> TextEncoder:
    """The text encoder that ``config`` names.

    Raises:
        ValueError: it names none.
    """
    if not config["text_encoder"]:
        raise ValueError(
            f"item_tower is {config['item_tower']}, but `text_encoder` names no encoder; set it to a model on the hub "
            f"such as sentence-transformers/all-MiniLM-L6-v2, a folder, or package:NAME"
        )
    encoder = TextEncoder(
        config["text_encoder"],
        weights=config["text_weights"],
        tune=config["tune"] if config["text_tune"] is None else config["text_tune"],
        pooling=config["text_pooling"],
        length=config["text_length"],
    )
    return started(config, encoder, "text")


def text_tower(config: Any, dataset: Any, table: nn.Embedding, stored: StoredKind) -> ItemTower:
    """The tower of the items' texts."""
    encoder = text_encoder(config)
    inputs, has_text = text_inputs(config, dataset.field2id_token[dataset.iid_field], encoder)
    if config["missing_text"] == "learnt":
        return joint_tower(config, {"text": (encoder, inputs, has_text)}, table)
    return configured_tower(config, encoder, inputs, table)

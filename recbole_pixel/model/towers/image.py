"""``item_tower: image``: what an item looks like."""

from __future__ import annotations

from typing import Any

from torch import nn

from recbole_pixel.data.pictures import have_pictures, picture_inputs
from recbole_pixel.encoder import ImageEncoder
from recbole_pixel.item_tower import ItemTower
from recbole_pixel.model.stored_kind import StoredKind
from recbole_pixel.model.towers.configured import configured_tower, is_given, joint_tower, started


def image_encoder(config: Any) -> ImageEncoder:
    """The image encoder that ``config`` names."""
    encoder = ImageEncoder(
        config["encoder"],
        weights=config["encoder_weights"],
        tune=config["tune"],
        image_size=config["image_size"],
        batch_norm=config["batch_norm"],
        channels_last=config["channels_last"],
        compile=config["compile"] or False,
        is_given=is_given(config, "image"),
    )
    return started(config, encoder, "image")


def image_tower(config: Any, dataset: Any, table: nn.Embedding, stored: StoredKind) -> ItemTower:
    """The tower of the dataset's pictures."""
    encoder = image_encoder(config)
    tokens = dataset.field2id_token[dataset.iid_field]
    inputs = picture_inputs(config, tokens, encoder)
    if config["missing_image"] == "learnt":
        return joint_tower(config, {"image": (encoder, inputs, have_pictures(config, tokens))}, table)
    return configured_tower(config, encoder, inputs, table)

"""``item_tower: image_text``: what an item looks like and what is written of it."""

from __future__ import annotations

from typing import Any

from torch import nn

from recbole_pixel.data.pictures import have_pictures, picture_inputs
from recbole_pixel.data.texts import text_inputs
from recbole_pixel.item_tower import ItemTower
from recbole_pixel.model.stored_kind import StoredKind
from recbole_pixel.model.towers.configured import joint_tower
from recbole_pixel.model.towers.image import image_encoder
from recbole_pixel.model.towers.text import text_encoder


def image_text_tower(config: Any, dataset: Any, table: nn.Embedding, stored: StoredKind) -> ItemTower:
    """The tower of the items' pictures and texts; where ``missing_...`` says mean or empty, that stands for them."""
    tokens = dataset.field2id_token[dataset.iid_field]
    of_pictures, of_texts = image_encoder(config), text_encoder(config)
    texts, has_text = text_inputs(config, tokens, of_texts)
    pictures, has_picture = picture_inputs(config, tokens, of_pictures), have_pictures(config, tokens)
    if config["missing_text"] != "learnt":
        has_text[:] = True
    if config["missing_image"] != "learnt":
        has_picture[:] = True
    parts = {"image": (of_pictures, pictures, has_picture), "text": (of_texts, texts, has_text)}
    return joint_tower(config, parts, table)

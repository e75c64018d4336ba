"""``item_tower: vlm`` where the model is a dual encoder: its two vectors of an item, put together by ``fusion``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from recbole_pixel.data.pictures import have_pictures, picture_inputs
from recbole_pixel.data.stored_inputs import StoredInputs
from recbole_pixel.data.texts import text_inputs
from recbole_pixel.data.vlm_inputs import chosen_modalities
from recbole_pixel.item_tower import ItemTower
from recbole_pixel.model.towers.configured import joint_tower, started


def dual_tower(config: Any, dataset: Any, table: nn.Embedding) -> ItemTower:
    """The tower of a dual encoder's vectors of the items' pictures and texts.

    Raises:
        ValueError: an option that dual encoders do not have.
    """
    from recbole_pixel.encoder.vlm.dual import load_dual

    if config["vlm_quantise"]:
        raise ValueError(f"vlm_quantise is {config['vlm_quantise']}, which a dual encoder has not: leave it out")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config["seed"])  # ranks must agree on weights that are random
        sides: tuple[Any, Any] = load_dual(
            config["vlm"],
            config["vlm_weights"],
            config["vlm_tune"],
            image_size=config["vlm_image_size"],
            length=config["text_length"],
            attention=config["vlm_attention"],
            dtype=config["vlm_dtype"],
        )
    of_pictures, of_texts = started(config, sides[0], "image"), started(config, sides[1], "text")
    tokens, modalities = dataset.field2id_token[dataset.iid_field], chosen_modalities(config)
    parts: dict[str, tuple[nn.Module, StoredInputs, np.ndarray]] = {}
    if "image" in modalities:
        has_picture = have_pictures(config, tokens)
        has_picture |= config["missing_image"] != "learnt"
        parts["image"] = (of_pictures, picture_inputs(config, tokens, of_pictures), has_picture)
    if "text" in modalities:
        texts, has_text = text_inputs(config, tokens, of_texts)
        has_text |= config["missing_text"] != "learnt"
        parts["text"] = (of_texts, texts, has_text)
    return joint_tower(config, parts, table)

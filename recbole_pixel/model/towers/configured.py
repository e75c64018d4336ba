"""An item tower around an encoder, as the settings that all kinds of towers share say."""

from __future__ import annotations

from typing import Any

from torch import nn

from recbole_pixel.data.stored_inputs import StoredInputs
from recbole_pixel.item_tower import ItemTower


def configured_tower(config: Any, encoder: nn.Module, inputs: StoredInputs, table: nn.Embedding) -> ItemTower:
    """The tower of ``encoder``, which reads ``inputs``, in the place of ``table``."""
    return ItemTower(
        encoder,
        inputs,
        table.num_embeddings,
        table.embedding_dim,
        activation=config["projection_activation"],
        standardise=config["standardise_features"],
        scale=config["projection_scale"],
        chunk=config["encoder_chunk"],
        train_chunk=config["train_encoder_chunk"],
    )

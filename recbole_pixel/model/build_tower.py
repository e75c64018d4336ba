"""The item tower that a configuration asks for."""

from __future__ import annotations

from typing import Any

from torch import nn

from recbole_pixel.data.pictures import StoredInputs, picture_inputs
from recbole_pixel.data.stored_features import feature_inputs, open_feature_store
from recbole_pixel.encoder import FeatureEncoder, ImageEncoder
from recbole_pixel.item_tower import IDTower, ItemTower
from recbole_pixel.model.stored_kind import VECTORS, StoredKind, check_stored

ITEM_TOWERS = ("id", "image", "features")


def build_item_tower(
    config: Any, dataset: Any, table: nn.Embedding, stored: StoredKind = VECTORS
) -> IDTower | ItemTower:
    """What takes the place of RecBole's item embedding ``table``.

    Args:
        config: RecBole's; ``item_tower`` chooses.
        dataset: gives the tokens of the items.
        table: the embedding that the model's parent made; the ID twin keeps its values.
        stored: what the model reads of an item where ``item_tower`` is ``features``.

    Raises:
        ValueError: ``item_tower`` is none of :data:`ITEM_TOWERS`, or ``features`` names a store of another kind.
    """
    kind = config["item_tower"]
    if kind == "id":
        return IDTower(table)
    tokens = dataset.field2id_token[dataset.iid_field]
    if kind == "image":
        encoder = ImageEncoder(
            config["encoder"],
            weights=config["encoder_weights"],
            tune=config["tune"],
            image_size=config["image_size"],
            batch_norm=config["batch_norm"],
            channels_last=config["channels_last"],
            compile=config["compile"] or False,
        )
        return _tower(config, encoder, picture_inputs(config, tokens, encoder), table)
    if kind == "features":
        store = open_feature_store(config)
        check_stored(store, stored, config["model"])
        inputs = feature_inputs(config, tokens, store, stored.command)
        return _tower(config, FeatureEncoder(inputs.shape[-1]), inputs, table)
    raise ValueError(f"item_tower is {kind!r}; expected one of {', '.join(ITEM_TOWERS)}")


def _tower(config: Any, encoder: nn.Module, inputs: StoredInputs, table: nn.Embedding) -> ItemTower:
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

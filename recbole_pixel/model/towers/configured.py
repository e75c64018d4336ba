"""An item tower around an encoder, or around one for each part of an item, as the settings of all towers say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from torch import nn

from recbole_pixel.data.joint_inputs import JointInputs
from recbole_pixel.data.stored_inputs import StoredInputs
from recbole_pixel.encoder.joint import JointEncoder
from recbole_pixel.item_tower import ItemInputs, ItemTower
from recbole_pixel.pretrained import Pretrained

Encoder = TypeVar("Encoder", bound=nn.Module)

DEFAULT_NOISE = 0.03  # docs/text.md, docs/cold_start.md


def started(config: Any, encoder: Encoder, part: str) -> Encoder:
    """``encoder``, of the ``part`` image or text, with the weights of the run that ``pretrained`` names, if any."""
    if config["pretrained"]:
        Pretrained.read(config["pretrained"]).start_encoder(encoder, part)
    return encoder


def is_given(config: Any, part: str) -> bool:
    """Whether :func:`started` gives the encoder of the ``part`` its weights: none need be looked for elsewhere."""
    return bool(config["pretrained"]) and Pretrained.read(config["pretrained"]).has_encoder(part)


def configured_tower(config: Any, encoder: nn.Module, inputs: ItemInputs, table: nn.Embedding) -> ItemTower:
    """The tower of ``encoder``, which reads ``inputs``, in the place of ``table``."""
    return ItemTower(
        encoder,
        inputs,
        table.num_embeddings,
        table.embedding_dim,
        standardise=config["standardise_features"],
        scale=config["projection_scale"],
        noise=_noise(config),
        **_shared(config),
    )


def joint_tower(
    config: Any, parts: Mapping[str, tuple[nn.Module, StoredInputs, np.ndarray]], table: nn.Embedding
) -> ItemTower:
    """The tower of items of several ``parts``, or of one that some of them lack, in the place of ``table``.

    Args:
        config: RecBole's.
        parts: by name the encoder, what it reads, and which items have the part, bool, (N,).
        table: the embedding that the model's parent made.
    """
    inputs = JointInputs([own for _, own, _ in parts.values()], np.stack([has for *_, has in parts.values()], axis=1))
    encoder = JointEncoder(
        {name: own for name, (own, *_) in parts.items()},
        inputs.layout,
        table.embedding_dim,
        fusion=config["fusion"],
        standardise=config["standardise_features"],
        scale=config["projection_scale"],
        dropout=config["modality_dropout"],
        noise=_noise(config),
    )
    return ItemTower(encoder, inputs, table.num_embeddings, None, **_shared(config))


def _noise(config: Any) -> float:
    """``feature_noise``; where nobody set it, what was best for towers that read texts, and beside own vectors."""
    if config["feature_noise"] != "auto":
        return float(config["feature_noise"])
    return DEFAULT_NOISE if config["own_vectors"] or config["item_tower"] in ("text", "image_text") else 0.0


def _shared(config: Any) -> dict[str, Any]:
    return {
        "activation": config["projection_activation"],
        "chunk": config["encoder_chunk"],
        "train_chunk": config["train_encoder_chunk"],
    }

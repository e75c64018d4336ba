"""``item_tower: features``: vectors of the items that were stored before."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from recbole_pixel.data.stored_features import feature_inputs, open_feature_store
from recbole_pixel.encoder import FeatureEncoder
from recbole_pixel.item_tower import ItemTower
from recbole_pixel.model.stored_kind import StoredKind, check_stored
from recbole_pixel.model.towers.configured import configured_tower, joint_tower


def feature_tower(config: Any, dataset: Any, table: nn.Embedding, stored: StoredKind) -> ItemTower:
    """The tower of the vectors in the store that ``features`` names; ``stored`` is the kind that the model reads."""
    store = open_feature_store(config)
    check_stored(store, stored, config["model"])
    tokens = dataset.field2id_token[dataset.iid_field]
    inputs = feature_inputs(config, tokens, store, stored.command)
    encoder = FeatureEncoder(inputs.shape[-1])
    if config["missing_image"] == "learnt":
        has_features = np.array([False, *(str(token) in store for token in tokens[1:])])
        return joint_tower(config, {"features": (encoder, inputs, has_features)}, table)
    return configured_tower(config, encoder, inputs, table)

"""``item_tower: vlm``: what an item looks like and what is written of it, read together."""

from __future__ import annotations

from typing import Any

from torch import nn

from recbole_pixel.data.vlm_inputs import vlm_inputs, vlm_vectors
from recbole_pixel.encoder import FeatureEncoder
from recbole_pixel.item_tower import ItemTower
from recbole_pixel.model.stored_kind import StoredKind
from recbole_pixel.model.towers.configured import configured_tower
from recbole_pixel.model.vlm_backbone import load_backbone


def vlm_tower(config: Any, dataset: Any, table: nn.Embedding, stored: StoredKind) -> ItemTower:
    """The tower of a vision-language model; where nothing of it learns, of the vectors that it made once.

    Raises:
        ValueError: ``vlm`` names no model.
    """
    if not config["vlm"]:
        raise ValueError(
            "item_tower is vlm, but `vlm` names no model; set it to one on the hub, such as "
            "HuggingFaceTB/SmolVLM-256M-Instruct, or to a folder that holds one with its processor"
        )
    from recbole_pixel.encoder.vlm.dual import is_dual

    if is_dual(config["vlm"]):
        from recbole_pixel.model.towers.dual import dual_tower

        return dual_tower(config, dataset, table)
    from recbole_pixel.encoder.vlm.item_reader import ItemReader, ItemWords

    backbone, tokens = load_backbone(config), dataset.field2id_token[dataset.iid_field]
    words = ItemWords(backbone.tokenizer, config["text_length"])
    records, modalities = vlm_inputs(config, tokens, backbone, words)
    reader = ItemReader(backbone, records.layout, modalities, config["vlm_pooling"])
    if any(parameter.requires_grad for parameter in reader.parameters()):
        return configured_tower(config, reader, records, table)
    vectors = vlm_vectors(config, tokens, records, reader)
    return configured_tower(config, FeatureEncoder(reader.n_features), vectors, table)

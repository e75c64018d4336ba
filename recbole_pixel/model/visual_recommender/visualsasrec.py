"""VisualSASRec.

Kang and McAuley: "Self-Attentive Sequential Recommendation", ICDM 2018, over frozen features, as in Cheng et al.: "An
Image Dataset for Benchmarking Recommender Systems with Raw Pixels" (PixelRec), SDM 2024: features alone (V), features
and IDs (VID), and semantic ids as in Rajput et al., NeurIPS 2023, an item being the mean of its codes' embeddings.
Differs from PixelRec's version: the projection learns at a rate of its own (there the group of that name is empty),
features are centred and scaled first, no ReLU follows by default, ID vectors start at zero, and there is a choice of
losses and rows.
"""

from __future__ import annotations

from typing import Any

from recbole_pixel.item_tower import ItemTower
from recbole_pixel.model.sequential_recommender.pixelsasrec import PixelSASRec
from recbole_pixel.model.stored_kind import CODES, VECTORS, StoredKind
from recbole_pixel.model.visual_recommender.code_encoder import CodeEncoder, count_codes
from recbole_pixel.model.visual_recommender.feature_and_id_tower import FeatureAndIDTower
from recbole_pixel.model.visual_recommender.logistic_bpr import LogisticBPR

VISUAL_INPUTS = ("features", "features_id", "semantic_id")


class VisualSASRec(PixelSASRec):
    """SASRec over what a store says of items; with ``features_id``, over a table of IDs beside it."""

    towers = ("features",)
    id_parameters = ("item_embedding.ids",)

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        kind, tower = config["visual_input"], self.item_tower
        assert isinstance(tower, ItemTower)  # of features, the only kind in `towers`
        if kind == "features_id":
            self.item_embedding = _with_ids(tower, config)
        elif kind == "semantic_id":
            self.item_embedding = _of_codes(tower, config)
        if self.pixel_loss_type == "BPR":
            self.loss_fct = LogisticBPR()

    @classmethod
    def _check(cls, config: Any) -> None:
        super()._check(config)
        if config["visual_input"] not in VISUAL_INPUTS:
            raise ValueError(f"visual_input is {config['visual_input']!r}; expected one of {', '.join(VISUAL_INPUTS)}")

    @classmethod
    def _stored_kind(cls, config: Any) -> StoredKind:
        kind = CODES if config["visual_input"] == "semantic_id" else VECTORS
        return kind._replace(setting=f"visual_input: {config['visual_input']}")


def _with_ids(tower: ItemTower, config: Any) -> ItemTower:
    return FeatureAndIDTower(
        config["hidden_size"],
        tower.encoder,
        tower.inputs,
        tower.num_embeddings,
        tower.embedding_dim,
        activation=config["projection_activation"],
        standardise=config["standardise_features"],
        scale=config["projection_scale"],
        chunk=tower.chunk,
    )


def _of_codes(tower: ItemTower, config: Any) -> ItemTower:
    inputs: Any = tower.inputs
    n_levels, size = inputs.shape[0], tower.embedding_dim
    # a mean of n independent numbers deviates by sqrt(n) less than one of them
    deviation = config["projection_scale"] * n_levels**0.5
    encoder = CodeEncoder(n_levels, count_codes(inputs.store), size, deviation)
    return ItemTower(encoder, inputs, tower.num_embeddings, None, chunk=tower.chunk)

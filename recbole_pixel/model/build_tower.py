"""The item tower that a configuration asks for."""

from __future__ import annotations

from typing import Any

from torch import nn

from recbole_pixel.item_tower import IDTower, ItemTower
from recbole_pixel.model.stored_kind import VECTORS, StoredKind
from recbole_pixel.model.towers import TOWERS


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
        ValueError: ``item_tower`` is none of :data:`TOWERS`, or ``features`` names a store of another kind.
    """
    kind = config["item_tower"]
    if kind not in TOWERS:
        raise ValueError(f"item_tower is {kind!r}; expected one of {', '.join(TOWERS)}")
    return TOWERS[kind](config, dataset, table, stored)

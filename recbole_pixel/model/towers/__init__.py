"""Item towers by their kind: each a function of the configuration, the dataset and the table whose place it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from recbole_pixel.item_tower import IDTower, ItemTower
from recbole_pixel.model.stored_kind import StoredKind
from recbole_pixel.model.towers.features import feature_tower
from recbole_pixel.model.towers.image import image_tower
from recbole_pixel.model.towers.image_text import image_text_tower
from recbole_pixel.model.towers.text import text_tower
from recbole_pixel.model.towers.vlm import vlm_tower


def id_tower(config: Any, dataset: Any, table: nn.Embedding, stored: StoredKind) -> IDTower:
    """The table itself, with the interface of a tower."""
    return IDTower(table)


TOWERS: dict[str, Callable[[Any, Any, nn.Embedding, StoredKind], IDTower | ItemTower]] = {
    "id": id_tower,
    "image": image_tower,
    "text": text_tower,
    "image_text": image_text_tower,
    "vlm": vlm_tower,
    "features": feature_tower,
}
"""Values of ``item_tower``."""

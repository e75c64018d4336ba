"""What all datasets of pixel models do with items: drop those that cannot be shown, hold some out of training."""

from __future__ import annotations

from typing import Any

import numpy as np
from recbole.data.dataset import Dataset

from recbole_pixel.data.cold import TRAINED_ITEMS, ColdItems, draw_cold_items, items_without
from recbole_pixel.data.pictures import drop_items_without, open_image_store
from recbole_pixel.data.stored_features import open_feature_store
from recbole_pixel.data.texts import texts_of


class PixelItems:
    """Put before a dataset of RecBole.

    Attributes:
        cold: the held-out items and their occurrences, or None.
    """

    cold: ColdItems | None = None
    inter_feat: Any

    def _data_filtering(self) -> None:
        dataset: Any = self
        config = dataset.config
        made_of, lacks_image = config["item_tower"], config["missing_image"]
        if lacks_image == "drop" and reads(config, "image"):
            drop_items_without(dataset, open_image_store(config).tokens(), "pictures", "missing_image")
        elif lacks_image == "drop" and made_of == "features":
            drop_items_without(dataset, open_feature_store(config).tokens, "features", "missing_image")
        if config["missing_text"] == "drop" and reads(config, "text"):
            drop_items_without(dataset, texts_of(config), "texts", "missing_text")
        super()._data_filtering()  # type: ignore[misc]

    def build(self) -> list[Dataset]:
        """Train, validation and test parts by RecBole's splits."""
        dataset: Any = self
        if dataset.benchmark_filename_list is not None:
            raise NotImplementedError(
                "pixel models split the interactions themselves; join the files of benchmark_filename into one .inter, "
                "and take eval_args for the split"
            )
        return super().build()  # type: ignore[misc]

    def _hold_out_cold_items(self, users: np.ndarray, items: np.ndarray) -> np.ndarray | None:
        """Positions of the interactions that remain when those of cold items went, or None where all do.

        Args:
            users: ids, (n,), sorted.
            items: ids, (n,), each user's in the order of time.
        """
        dataset: Any = self
        config = dataset.config
        if not config["cold_items"]:
            return None
        tokens = dataset.field2id_token[dataset.iid_field]
        trained = getattr(config, TRAINED_ITEMS, None)
        if trained is None:
            split = config["seed"] if config["cold_split"] is None else config["cold_split"]
            is_cold = draw_cold_items(tokens, np.unique(items), config["cold_items"], int(split))
        else:
            is_cold = items_without(tokens, trained)
        self.cold = ColdItems.of(users, items, is_cold)
        return np.flatnonzero(~is_cold[items])


def reads(config: Any, modality: str) -> bool:
    """Whether items are made of their pictures (``image``) or texts (``text``), among other things."""
    made_of = config["item_tower"]
    return made_of in (modality, "image_text") or (made_of == "vlm" and modality in (config["modalities"] or ()))

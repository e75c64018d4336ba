"""From a dataset's items to features that were stored for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from recbole_pixel.data.pictures import item_records, shuffled
from recbole_pixel.data.stored_inputs import StoredInputs
from recbole_pixel.store import ArrayStore


def open_feature_store(config: Any) -> ArrayStore:
    """The store that ``features`` names.

    Raises:
        ValueError: it names none.
        FileNotFoundError: there is none.
    """
    if not config["features"]:
        raise ValueError(
            "item_tower is features, but `features` names no store; set it to the path of an array store, as "
            "`recbole-pixel features extract` or `recbole-pixel features import` makes it"
        )
    return ArrayStore(config["features"])


def feature_inputs(config: Any, tokens: np.ndarray, store: ArrayStore, command: str) -> StoredInputs:
    """The stored features of items, dealt out at random under ``shuffle_images``.

    Args:
        config: RecBole's.
        tokens: the token of each item id, (N,); index 0 is the padding.
        store: as :func:`open_feature_store` gives it.
        command: what makes such a store, for the error.

    Raises:
        LookupError: items have no features and ``missing_image`` is ``error``.
    """
    advice = f"see `recbole-pixel features show` and make them with {command}"
    records = item_records(store, tokens, config["missing_image"], f"features in {store.path}", advice)
    if config["shuffle_images"]:
        records = shuffled(records, store, int(config["seed"]))
    return StoredInputs(store, records, from_trunk=True)

"""Marks of what a run's items are made of: that it goes on with the same pictures, texts and features only."""

from __future__ import annotations

from typing import Any

from recbole_pixel.data.items import reads
from recbole_pixel.data.pictures import open_image_store
from recbole_pixel.data.stored_features import open_feature_store
from recbole_pixel.data.texts import texts_digest, texts_of


def content_digests(config: Any) -> dict[str, str]:
    """A digest of all ``pictures``, ``texts`` and ``features`` that a model's items are made of, of those it reads.

    Stores tell theirs; nothing is read of them but what describes them.

    Args:
        config: of a model with an item tower.
    """
    found = {}
    if reads(config, "image"):
        found["pictures"] = open_image_store(config).fingerprint
    if reads(config, "text"):
        found["texts"] = texts_digest(texts_of(config))
    if config["item_tower"] == "features":
        found["features"] = open_feature_store(config).fingerprint
    return found

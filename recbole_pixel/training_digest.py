"""Marks of what a model trains on and is judged by: a run goes on with the same data only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

import numpy as np

from recbole_pixel.checkpoint import rows_digest
from recbole_pixel.data.content_digests import content_digests
from recbole_pixel.registry import is_pixel_model

VALID, TEST = "validation interactions", "test interactions"


def training_digest(loader: Any) -> str:
    """A digest of users, items, interactions in their order, and of how many batches ``loader`` makes of them.

    Args:
        loader: of the training part; RecBole's or ours.
    """
    dataset = loader._dataset
    return _digest(f"{len(loader)} {rows_digest(dataset, dataset.uid_field, dataset.iid_field)}", _pairs(dataset))


def other_digests(config: Any, valid: Any, test: Any) -> dict[str, str]:
    """Digests of what else a run reads, by what it is called: interactions, pictures, texts, features.

    Args:
        config: RecBole's.
        valid: loader of the validation part.
        test: of the test part.
    """
    parts = {VALID: valid, TEST: test}
    found = {name: _digest(name, [*_pairs(part._dataset), *_cold(part._dataset)]) for name, part in parts.items()}
    return {**found, **(content_digests(config) if is_pixel_model(config["model"]) else {})}


def changed_data(run: Mapping[str, Any], training: str, other: Mapping[str, str]) -> list[str]:
    """What differs between the data that a run began with and those that are here, by what it is called.

    Args:
        run: its progress, as a state has it; of earlier versions, of its training interactions alone.
        training: see :func:`training_digest`.
        other: see :func:`other_digests`.
    """
    there = run.get("other_data", {})
    changed = [name for name, digest in other.items() if there.get(name, digest) != digest]
    if run["data"] == training:
        return changed
    return ["interactions", *(name for name in changed if name not in (VALID, TEST))]


def _pairs(dataset: Any) -> list[Any]:
    """Users and items of all interactions where ``dataset`` keeps their order, else of its own."""
    histories = getattr(dataset, "histories", None)
    if histories is not None:
        return [histories.users, histories.items]
    return [dataset.inter_feat[field].numpy() for field in (dataset.uid_field, dataset.iid_field)]


def _cold(dataset: Any) -> Iterator[np.ndarray]:
    """Who consumed which held-out items when, as arrays."""
    cold = getattr(dataset, "cold", None)
    if cold is not None:
        yield from (cold.every.keys, cold.every.items)


def _digest(start: str, columns: list[Any]) -> str:
    digest = sha256(start.encode())
    for column in columns:
        digest.update(np.ascontiguousarray(np.asarray(column)).view(np.uint8).data)
    return digest.hexdigest()

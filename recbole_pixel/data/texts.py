"""From a dataset's items to the token ids, or the activations, that a text encoder reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from recbole_pixel.data.built_store import blocks_of, built_store
from recbole_pixel.data.item_text import item_texts
from recbole_pixel.data.pictures import cache_folder
from recbole_pixel.data.stored_inputs import StoredInputs
from recbole_pixel.data.tiers import inputs_in_tier
from recbole_pixel.data.trunk_store import built_trunk
from recbole_pixel.encoder.precision import trunk_cache_type
from recbole_pixel.store import ArrayStore

if TYPE_CHECKING:
    from recbole_pixel.encoder.text import TextEncoder

EMPTY_TOKEN = "\0empty"  # token of the text without words, which stands in for what is missing
BLOCK = 4096  # texts that become token ids at a time


def texts_of(config: Any) -> dict[str, str]:
    """The texts of the dataset's items by token, of those that have any, as ``item_text`` says.

    Raises:
        FileNotFoundError: the dataset has no .item file.
        ValueError: ``item_text`` does not fit its columns.
    """
    path = Path(config["data_path"]) / f"{config['dataset']}.item"
    return item_texts(path, config["item_text"], config["ITEM_ID_FIELD"])


def text_inputs(config: Any, tokens: np.ndarray, encoder: TextEncoder) -> tuple[StoredInputs, np.ndarray]:
    """What ``encoder`` reads, for the items ``tokens``: token ids, or activations where its trunk is frozen and cached.

    Args:
        config: RecBole's.
        tokens: the token of each item id, (N,); index 0 is the padding.
        encoder: decides the token ids and the cut.

    Returns:
        The inputs, and which items have a text of their own, bool, (N,).

    Raises:
        LookupError: items have no text and ``missing_text`` is ``error``.
    """
    folder, texts = cache_folder(config), texts_of(config)
    store = token_store(texts, encoder, folder)
    records, has_own = text_records(store, tokens, config["missing_text"])
    if config["shuffle_texts"]:
        records[has_own] = np.random.default_rng(int(config["seed"])).permutation(records[has_own])
    tier, device = config["pixel_tier"], torch.device(config["device"])
    if not encoder.tuning.has_trunk or config["trunk_cache"] == "off":
        return inputs_in_tier(store, records, tier, device, from_trunk=False), has_own
    kept = trunk_cache_type(config["trunk_cache_type"], config["precision"], device, str(encoder.tuning))
    provenance = {"tokens": store.provenance}
    activations = built_trunk(store, encoder, folder, device, kept, partial(_trimmed, longest_text(store)), provenance)
    inputs = inputs_in_tier(activations, records, tier, device, from_trunk=True, is_bf16=kept == torch.bfloat16)
    return inputs, has_own


def texts_digest(texts: Mapping[str, str]) -> str:
    """A digest of items and their texts, in their order."""
    digest = sha256()
    for token, text in texts.items():
        digest.update(f"{token}\0{text}\0".encode())
    return digest.hexdigest()


def token_store(texts: Mapping[str, str], encoder: TextEncoder, folder: Path) -> ArrayStore:
    """Token ids of the text without words, then of ``texts``: int32 (T,) each; built once per texts and tokeniser."""
    provenance = {"kind": "tokens", "texts": texts_digest(texts), **encoder.tokeniser_identity()}
    ordered = ["", *texts.values()]

    def blocks(start: int) -> Iterator[np.ndarray]:
        """Records from the ``start``-th on, in the order of the texts."""
        for block in blocks_of(len(ordered), start, BLOCK):
            yield encoder.tokenise(ordered[block])

    shape, dtype = (encoder.length,), np.dtype(np.int32)
    return built_store(folder, "tokens", [EMPTY_TOKEN, *texts], shape, dtype, provenance, blocks)


def text_records(store: ArrayStore, tokens: np.ndarray, missing: str) -> tuple[np.ndarray, np.ndarray]:
    """The record of each item id, (N,), the empty text's for items without one; and which items have one, bool, (N,).

    Args:
        store: of token ids.
        tokens: the token of each item id, (N,); index 0 is the padding.
        missing: ``missing_text``.

    Raises:
        LookupError: items have none, and are neither to be learnt or empty, nor dropped.
    """
    known = {token: record for record, token in enumerate(store.tokens)}
    records = np.array([0, *(known.get(str(token), 0) for token in tokens[1:])], dtype=np.int64)
    absent = [str(token) for token, record in zip(tokens[1:], records[1:], strict=True) if not record]
    if absent and missing == "error":
        raise LookupError(
            f"{len(absent)} of {len(tokens) - 1} items have no text, e.g. {absent[:3]}; see item_text and the columns "
            f"of the .item file, or set missing_text to learnt, empty or drop"
        )
    if len(absent) == len(tokens) - 1:
        raise LookupError(f"none of the {len(absent)} items has a text, e.g. {absent[:3]}; see item_text")
    return records, records > 0


def longest_text(store: ArrayStore) -> int:
    """How many tokens the longest text of a store of token ids has, at least 1."""
    lengths = (store.gather(np.arange(len(store))[block]) >= 0 for block in blocks_of(len(store), 0, BLOCK))
    return max(1, max(int(block.sum(1).max()) for block in lengths))


def _trimmed(n_tokens: int, tokens: Tensor) -> Tensor:
    return tokens[:, :n_tokens]

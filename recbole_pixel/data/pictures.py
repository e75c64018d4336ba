"""From a dataset's items to the arrays that an encoder reads, decoded and encoded once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from recbole_pixel.data.built_store import blocks_of, built_store
from recbole_pixel.data.stored_inputs import StoredInputs
from recbole_pixel.data.tiers import inputs_in_tier
from recbole_pixel.data.trunk_store import built_trunk
from recbole_pixel.encoder.precision import trunk_cache_type
from recbole_pixel.store import MEAN_TOKEN, ArrayStore, ImageStore, decode_image

if TYPE_CHECKING:
    from recbole_pixel.encoder import ImageEncoder

MEAN_OF = 500  # about how many pictures it is the mean of, evenly spread


def drop_items_without(dataset: Any, tokens: Iterable[str], what: str, setting: str) -> None:
    """Removes the interactions of items that are not among ``tokens``, before RecBole filters; says how many.

    Args:
        dataset: RecBole's, its interactions just read.
        tokens: items that have ``what``.
        what: pictures, features or texts.
        setting: that is ``drop``.

    Raises:
        ValueError: that would be all of them.
    """
    items = dataset.inter_feat[dataset.iid_field]
    is_there = items.isin(set(tokens))
    if len(items) and not is_there.any():
        raise ValueError(
            f"{setting} is drop, and none of the {items.nunique()} items has {what}, e.g. {items.iloc[0]!r}: no "
            f"interaction would be left; see `recbole-pixel images check` for tokens that differ"
        )
    dropped = int((~is_there).sum())
    if dropped:
        n_items = items[~is_there].nunique()
        dataset.logger.warning(
            f"{setting} is drop: {dropped} interactions of {n_items} items without {what} were dropped"
        )
        dataset.inter_feat = dataset.inter_feat[is_there]


def open_image_store(config: Any) -> ImageStore:
    """The dataset's pictures.

    Raises:
        FileNotFoundError: there are none.
    """
    path = Path(config["images"] or Path(config["data_path"]) / "images.lmdb")
    if not path.exists():
        raise FileNotFoundError(
            f"dataset {config['dataset']} has no pictures at {path}; build them with `recbole-pixel images build`, "
            f"name them with --images=PATH, or run without them: --item_tower=id"
        )
    return ImageStore(path)


def cache_folder(config: Any) -> Path:
    """Where decoded pictures and activations are kept: ``cache_dir``, or ``cache`` beside the dataset."""
    return Path(config["cache_dir"] or Path(config["data_path"]) / "cache")


def picture_inputs(config: Any, tokens: np.ndarray, encoder: ImageEncoder) -> StoredInputs:
    """What ``encoder`` reads, for the items ``tokens``: pixels, or activations where the trunk is frozen and cached.

    Args:
        config: RecBole's.
        tokens: the token of each item id, (N,); index 0 is the padding.
        encoder: decides the size of the pictures and the cut.

    Raises:
        LookupError: items have no picture and ``missing_image`` is ``error``.
    """
    images = open_image_store(config)
    pixels = pixel_store(images, encoder.image_size, cache_folder(config))
    records = item_records(pixels, tokens, config["missing_image"], "picture", "see `recbole-pixel images check`")
    if config["shuffle_images"]:
        records = shuffled(records, pixels, int(config["seed"]))
    tier, device = config["pixel_tier"], torch.device(config["device"])
    if not encoder.tuning.has_trunk or config["trunk_cache"] == "off":
        return inputs_in_tier(pixels, records, tier, device, from_trunk=False, channels_last=True)
    kept = trunk_cache_type(config["trunk_cache_type"], config["precision"], device, str(encoder.tuning))
    activations = trunk_store(pixels, encoder, cache_folder(config), device, kept)
    return inputs_in_tier(activations, records, tier, device, from_trunk=True, is_bf16=kept == torch.bfloat16)


def have_pictures(config: Any, tokens: np.ndarray) -> np.ndarray:
    """Which of the items ``tokens`` (N,) have a picture of their own: bool, (N,); index 0, the padding, has none."""
    known = set(open_image_store(config).tokens())
    return np.array([False, *(str(token) in known for token in tokens[1:])])


def item_records(store: ArrayStore, tokens: np.ndarray, missing: str, what: str, advice: str) -> np.ndarray:
    """The record of each item id, (N,), the mean's for items without one.

    Args:
        store: of pixels or of features.
        tokens: the token of each item id, (N,); index 0 is the padding.
        missing: ``missing_image``.
        what: an item has one in the store, for the error.
        advice: what to do about missing ones, for the error.

    Raises:
        LookupError: items have none, and ``missing`` is ``error``, or the store holds no mean.
        ValueError: items have none, and ``missing`` is ``leave_out``: each of them is to have a record here.
    """
    known = {token: record for record, token in enumerate(store.tokens)}
    absent = [str(token) for token in tokens[1:] if str(token) not in known]
    if absent and missing == "error":
        raise LookupError(
            f"{len(absent)} of {len(tokens) - 1} items have no {what}, e.g. {absent[:3]}; "
            f"{advice}, or set missing_image to mean, learnt or drop"
        )
    if absent and missing == "leave_out":
        raise ValueError(
            "missing_image is leave_out, which models alone can do that read items as prompts; use mean, learnt or drop"
        )
    if absent and MEAN_TOKEN not in known:
        raise LookupError(
            f"{len(absent)} items are not in {store.path}, e.g. {absent[:3]}, and it holds no mean to use instead"
        )
    stand_in = known.get(MEAN_TOKEN, 0)
    return np.array([stand_in, *(known.get(str(token), stand_in) for token in tokens[1:])], dtype=np.int64)


def shuffled(records: np.ndarray, store: ArrayStore, seed: int) -> np.ndarray:
    """``records`` dealt out at random among the items that have one of their own: the control for what they tell."""
    has_own = np.arange(len(records)) > 0
    if MEAN_TOKEN in store:
        has_own &= records != store.positions([MEAN_TOKEN])[0]
    dealt = records.copy()
    dealt[has_own] = np.random.default_rng(seed).permutation(records[has_own])
    return dealt


def pixel_store(images: ImageStore, size: int, folder: Path) -> ArrayStore:
    """All pictures of ``images`` decoded to uint8 (size, size, 3), and their mean; built once."""
    provenance = {"kind": "pixels", "images": images.fingerprint, "size": size}
    tokens = images.tokens()

    def blocks(start: int) -> Iterator[np.ndarray]:
        """Records from the ``start``-th on: the mean picture, then the others in the order of their tokens."""
        with ThreadPoolExecutor(os.cpu_count()) as threads:

            def decode(chosen: list[str]) -> np.ndarray:
                return np.stack(list(threads.map(lambda token: decode_image(images.read(token), size), chosen)))

            if start == 0:
                yield decode(tokens[:: max(1, len(tokens) // MEAN_OF)]).mean(axis=0).round().astype(np.uint8)[None]
            for block in blocks_of(len(tokens), max(start - 1, 0)):
                yield decode(tokens[block])

    return built_store(
        folder, f"pixels-{size}", [MEAN_TOKEN, *tokens], (size, size, 3), np.dtype(np.uint8), provenance, blocks
    )


def trunk_store(
    pixels: ArrayStore,
    encoder: ImageEncoder,
    folder: Path,
    device: torch.device,
    kept: torch.dtype = torch.float32,
) -> ArrayStore:
    """What ``encoder``'s trunk makes of every picture; built once per encoder, weights, cut, pictures and type."""
    provenance = {"pixels": pixels.provenance}
    return built_trunk(pixels, encoder, folder, device, kept, _channels_first, provenance)


def _channels_first(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.permute(0, 3, 1, 2)

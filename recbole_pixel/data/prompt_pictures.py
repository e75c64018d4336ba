"""The pictures that prompts show: pixels, or, where the vision tower is frozen, what it makes of them, kept by item."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recbole_pixel.data.pictures import cache_folder, item_records, open_image_store, pixel_store, shuffled
from recbole_pixel.data.stored_inputs import StoredInputs
from recbole_pixel.data.tiers import inputs_in_tier
from recbole_pixel.data.trunk_store import built_trunk
from recbole_pixel.encoder.precision import trunk_cache_type


class NoPictures:
    """Stands where pictures are read, and there are none."""

    from_trunk = True
    shape: tuple[int, ...] = (0,)
    dtype = np.dtype(np.uint8)
    device = torch.device("cpu")

    def fetch(self, ids: Tensor, out: np.ndarray | None = None) -> Tensor:
        """Empty arrays of the items ``ids`` (U,): (U, 0)."""
        return torch.empty((len(ids), 0), dtype=torch.uint8)


def prompt_pictures(config: Any, tokens: np.ndarray, backbone: Any) -> tuple[StoredInputs, np.ndarray]:
    """Pictures of items, pixels (S, S, 3) or features (P, W), and which items have one, bool (N,).

    Args:
        config: RecBole's.
        tokens: the token of each item id, (N,); index 0 is the padding.
        backbone: a :class:`~recbole_pixel.encoder.vlm.backbone.VisionLanguageBackbone`.

    Raises:
        LookupError: items have no picture, and ``missing_image`` is ``error``.
    """
    images, tier, device = open_image_store(config), config["pixel_tier"], torch.device(config["device"])
    pixels = pixel_store(images, backbone.image_size, cache_folder(config))
    missing = "mean" if config["missing_image"] == "leave_out" else config["missing_image"]
    records = item_records(pixels, tokens, missing, "picture", "see `recbole-pixel images check`, set leave_out")
    has_picture = np.ones(len(tokens), dtype=bool)
    if config["missing_image"] == "leave_out":
        has_picture = np.array([str(token) in pixels for token in tokens])
    has_picture[0] = False
    if config["shuffle_images"]:
        records = shuffled(records, pixels, int(config["seed"]))
    if not backbone.vision_is_frozen or config["trunk_cache"] == "off":
        inputs = inputs_in_tier(pixels, records, tier, device, from_trunk=False, channels_last=True)
        return inputs, has_picture
    kept = trunk_cache_type(config["trunk_cache_type"], config["precision"], device, "vision")
    provenance = {"pixels": pixels.provenance}
    features = built_trunk(
        pixels,
        VisionTrunk(backbone),
        cache_folder(config),
        device,
        kept,
        lambda found: found.permute(0, 3, 1, 2),
        provenance,
    )
    is_bf16 = kept == torch.bfloat16
    return inputs_in_tier(features, records, tier, device, from_trunk=True, is_bf16=is_bf16), has_picture


class VisionTrunk(nn.Module):
    """The vision tower and the connector of a backbone, as what is computed once and kept.

    Args:
        backbone: where both are frozen.
    """

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self.backbone = backbone

    def trunk(self, pixels: Tensor) -> Tensor:
        """Features of pictures: uint8 (U, 3, S, S) to (U, P, W)."""
        features: Tensor = self.backbone.image_features(pixels)
        return features

    def trunk_identity(self) -> dict[str, object]:
        """What features depend on, beside the pictures."""
        identity: dict[str, object] = self.backbone.identity(vision_only=True)
        return identity

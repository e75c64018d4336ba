"""Pictures of every Pillow mode in RGB."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from recbole_pixel.store.errors import PictureError

BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # tags of a TIFF
WHITE_IS_ZERO = 0
FORMS = {2: " with a sign", 3: " in floating point"}


def to_rgb(image: Image.Image, tags: Mapping[int, Any] | None = None) -> Image.Image:
    """`image` in mode RGB: transparency laid on white, deep grey scaled (Pillow's own conversion would clip it).

    Args:
        image: of any mode.
        tags: those of the TIFF that it was read from, which say of how many bits it is and which end is white.

    Raises:
        PictureError: floating-point, signed or 32-bit pixels, which have no defined white.
    """
    tags = tags or {}
    _refuse_without_white(tags)
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _from_deep_grey(image, tags)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _on_white(image)
    return image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    layered = image.convert("RGBA")
    white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layered).convert("RGB")


def _refuse_without_white(tags: Mapping[int, Any]) -> None:
    bits, form = max(tags.get(BITS, (8,))), max(tags.get(SAMPLE_FORMAT, (1,)))
    if bits > 16 or form in FORMS:
        raise PictureError(
            f"samples of {bits} bits{FORMS.get(form, '')} have no defined white; convert the picture to 8 or 16 bits "
            f"without a sign"
        )


def _from_deep_grey(image: Image.Image, tags: Mapping[int, Any]) -> Image.Image:
    values = np.asarray(image)
    if image.mode == "F" or values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise PictureError(
            f"pixels of mode {image.mode} from {values.min()} to {values.max()} have no defined white; "
            f"convert the picture to 8 or 16 bits"
        )
    grey = (values >> (max(tags.get(BITS, (16,))) - 8)).astype(np.uint8)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:  # Pillow inverts 8 bits, not 16
        grey = 255 - grey
    clear = image.info.get("transparency")
    if isinstance(clear, int):  # a PNG's: the value that is not seen
        grey[values == clear] = 255
    return Image.fromarray(grey).convert("RGB")

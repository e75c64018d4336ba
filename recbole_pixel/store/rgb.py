"""Pictures of every Pillow mode in RGB."""

from __future__ import annotations

import numpy as np
from PIL import Image

from recbole_pixel.store.errors import PictureError


def to_rgb(image: Image.Image) -> Image.Image:
    """`image` in mode RGB: transparency laid on white, 16-bit grey scaled (Pillow's own conversion would clip it).

    Raises:
        PictureError: floating-point or 32-bit pixels, which have no defined white.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _from_deep_grey(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _on_white(image)
    return image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    layered = image.convert("RGBA")
    white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layered).convert("RGB")


def _from_deep_grey(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if image.mode == "F" or values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise PictureError(
            f"pixels of mode {image.mode} from {values.min()} to {values.max()} have no defined white; "
            f"convert the picture to 8 or 16 bits"
        )
    grey = (values // 256).astype(np.uint8)
    clear = image.info.get("transparency")
    if isinstance(clear, int):  # a PNG's: the value that is not seen
        grey[values == clear] = 255
    return Image.fromarray(grey).convert("RGB")

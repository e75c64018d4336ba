"""Small pictures inside a page, which then opens without anything beside it."""

from __future__ import annotations

import base64

import numpy as np
from PIL import Image

from recbole_pixel.store import decode_image, encode_image

SIDE = 112  # pixels of the longer side: sharp enough at the 7 rem of a card
QUALITY = 80


def thumbnail_uri(data: bytes, side: int = SIDE) -> str:
    """A picture file as a ``data:`` address of a small JPEG, for ``src`` or ``url(...)``.

    Args:
        data: the file.
        side: of the longer side, pixels; a smaller picture keeps its size.

    Raises:
        PictureError: it cannot be read.
    """
    image = Image.fromarray(decode_image(data))
    image.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0)
    jpeg = encode_image(np.asarray(image), QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"

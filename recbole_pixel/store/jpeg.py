"""JPEG files through libjpeg-turbo directly: two times faster than Pillow, and it tells what it stumbled over."""

from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
import simplejpeg
from PIL import Image

from recbole_pixel.store.errors import PictureError
from recbole_pixel.store.jpeg_scans import refuse_scan_bomb

START = b"\xff\xd8"
ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)
# Pillow reads on behind these and shows grey or shifted blocks. Other warnings, such as of a few bytes too many, may be
# of a file that is as its maker meant it.
TORN = ("bad Huffman code", "premature end", "Premature end", "Inconsistent progression", "instead of RST")


def plain_jpeg(data: bytes, wanted: tuple[int, int] | None, max_pixels: int) -> np.ndarray | None:
    """The pixels of a JPEG in RGB, upright: uint8, shape (H, W, 3); None leaves it to Pillow.

    A picture much larger than wanted is decoded at half, quarter or eighth scale, never below twice what is wanted.

    Args:
        data: a picture file of any kind.
        wanted: (height, width) that it will be scaled to; None keeps its own.
        max_pixels: a larger one is left to Pillow, which has the words for it.

    Raises:
        PictureError: its data are torn, so that what comes out would not be the picture; or it has too many scans.
    """
    if not data.startswith(START):
        return None
    refuse_scan_bomb(data)
    turn = _orientation(data)
    height, width = wanted or (0, 0)
    smallest = (2 * width, 2 * height) if turn in SIDEWAYS else (2 * height, 2 * width)
    try:
        stored_height, stored_width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if stored_height * stored_width > max_pixels:
            return None
        if colours not in ("YCbCr", "Gray", "RGB"):
            simplejpeg.decode_jpeg(data, "CMYK", min_height=1, min_width=1)  # only to hear whether it is whole
            return None
        pixels: np.ndarray = simplejpeg.decode_jpeg(data, "RGB", min_height=smallest[0], min_width=smallest[1])
    except ValueError as error:
        if any(words in str(error) for words in TORN):
            raise PictureError(f"damaged: {error}") from error
        return None
    return pixels if turn == 1 else np.array(Image.fromarray(pixels).transpose(UPRIGHT[turn]))


def _orientation(data: bytes) -> int:
    """How the picture is to be turned, by its EXIF block; 1, as it is, without one or with a torn one."""
    if b"Exif\x00\x00" in data:
        with suppress(Exception):  # whatever Pillow's parsers make of a torn block
            turn = Image.open(io.BytesIO(data), formats=("JPEG",)).getexif().get(ORIENTATION, 1)
            return turn if turn in UPRIGHT else 1
    return 1

"""Encoded pictures <-> RGB arrays."""

from __future__ import annotations

import importlib
import io
from contextlib import suppress

import numpy as np
import simplejpeg
from PIL import Image, ImageOps

from recbole_pixel.store.errors import PictureError
from recbole_pixel.store.fit import FITS, fitted
from recbole_pixel.store.jpeg import plain_jpeg
from recbole_pixel.store.picture_faults import reason, too_many_pixels
from recbole_pixel.store.png import check_icon, check_png, without_notes
from recbole_pixel.store.rgb import to_rgb

MAX_PIXELS = 89_478_485  # a quarter of a gigabyte as RGB; also where Pillow begins to warn of decompression bombs
MAX_BYTES = 256 * 1024 * 1024

# A closed list: Pillow would also hand EPS to Ghostscript, and has readers for formats no catalogue of covers uses.
WANTED = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "DIB", "TIFF", "AVIF", "HEIF", "JPEG2000", "PPM", "ICO")
Image.init()
with suppress(ImportError, AttributeError, OSError):  # not installed, or too old, or without its library
    importlib.import_module("pillow_heif").register_heif_opener()
FORMATS = tuple(name for name in WANTED if name in Image.OPEN)


def decode_image(data: bytes, size: int | tuple[int, int] | None = None, fit: str = "squash") -> np.ndarray:
    """The picture in `data` as it is meant to be looked at.

    EXIF orientation is applied, transparency is laid on white, CMYK, palette, grey, 12- and 16-bit pictures become RGB
    (colour profiles are not applied, of more than 8 bits the upper 8 are kept), of an animation, a multi-page TIFF or
    an MPO the first picture is read, of an ICO the largest.

    Args:
        data: a picture file: JPEG, PNG, GIF, WebP, BMP, TIFF, JPEG 2000, PPM, ICO; AVIF where Pillow can, HEIC where
            pillow-heif is installed.
        size: (height, width) in pixels, or the side of a square; None keeps the picture's own.
        fit: how another aspect ratio is met: `squash` stretches, `crop` cuts the edges, `pad` adds white.

    Returns:
        uint8, shape (H, W, 3), C-contiguous, writable.

    Raises:
        PictureError: not a picture that can be read, or more than 89 million pixels; says why.
        ValueError: `fit` or `size` is none of the above.
    """
    wanted = _height_and_width(size)
    if fit not in FITS:
        raise ValueError(f"fit is {fit!r}, expected one of {', '.join(FITS)}")
    if not data or len(data) > MAX_BYTES:
        raise PictureError("empty file" if not data else f"{len(data):,} bytes, more than {MAX_BYTES:,}")
    pixels = plain_jpeg(data, wanted, MAX_PIXELS)
    if pixels is not None and (wanted is None or pixels.shape[:2] == wanted):
        return pixels
    try:
        image = Image.fromarray(pixels) if pixels is not None else _opened(data)
        return np.array(image if wanted is None else fitted(image, wanted, fit))
    except PictureError:
        raise
    except Exception as error:  # Pillow raises whatever its parsers stumble over, struct.error or IndexError
        raise PictureError(reason(data, error, MAX_PIXELS, FORMATS)) from error


def encode_image(array: np.ndarray, quality: int = 95) -> bytes:
    """A JPEG without chroma subsampling: 42.8 dB at the default quality, where 4:2:0 at 90 has 37.

    Args:
        array: uint8, shape (H, W, 3), RGB.
        quality: 1 to 100.

    Raises:
        ValueError: the array is not of that type and shape.
    """
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(f"the array is {array.dtype} of shape {array.shape}, expected uint8 of shape (H, W, 3)")
    array = np.ascontiguousarray(array)
    data: bytes = simplejpeg.encode_jpeg(array, quality=quality, colorspace="RGB", colorsubsampling="444")
    return data


def _height_and_width(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    height, width = (size, size) if isinstance(size, (int, np.integer)) else size
    if height < 1 or width < 1:
        raise ValueError(f"size is {size}, expected at least 1 pixel")
    return int(height), int(width)


def _opened(data: bytes) -> Image.Image:
    """The first frame, upright, in RGB."""
    check_png(data)
    check_icon(data, MAX_PIXELS)
    try:
        return _read(data)
    except PictureError:
        raise
    except Exception as error:
        bare = without_notes(data)
        if bare is None or isinstance(error, Image.DecompressionBombError):
            raise
        return _read(bare)


def _read(data: bytes) -> Image.Image:
    image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise too_many_pixels(image.width, image.height, MAX_PIXELS)
    image.load()
    tags = getattr(image, "tag_v2", None)  # a TIFF's; lost with the next line
    with suppress(Exception):  # a picture is not worse for a torn EXIF block, whatever that makes the parser raise
        image = ImageOps.exif_transpose(image)
    return to_rgb(image, tags)

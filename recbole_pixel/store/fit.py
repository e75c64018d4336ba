"""A picture of any aspect ratio in a frame of a given one."""

from __future__ import annotations

from PIL import Image

FITS = ("squash", "crop", "pad")
WHITE = (255, 255, 255)
Box = tuple[float, float, float, float]  # left, top, right, bottom


def fitted(image: Image.Image, size: tuple[int, int], fit: str) -> Image.Image:
    """The RGB `image` at `size` = (height, width), by an antialiased bicubic filter.

    `squash` stretches, as the published PixelRec pipeline does; `crop` keeps the middle; `pad` shows all on white.
    """
    height, width = size
    if fit == "crop":
        return _resized(image, width, height, _middle(image, width / height))
    if fit == "pad":
        scale = min(width / image.width, height / image.height)
        inner = _resized(image, max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        frame = Image.new("RGB", (width, height), WHITE)
        frame.paste(inner, ((width - inner.width) // 2, (height - inner.height) // 2))
        return frame
    return _resized(image, width, height)


def _resized(image: Image.Image, width: int, height: int, box: Box | None = None) -> Image.Image:
    if image.size == (width, height) and box is None:
        return image
    return image.resize((width, height), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)


def _middle(image: Image.Image, ratio: float) -> Box:
    """The largest centred box of aspect `ratio` = width / height."""
    width = min(image.width, image.height * ratio)
    height = min(image.height, image.width / ratio)
    left, top = (image.width - width) / 2, (image.height - height) / 2
    return left, top, left + width, top + height

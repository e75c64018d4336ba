"""What the year does to a drawn cover, continuously: old films are sepia, grainy and framed, new ones are not."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

RGB = tuple[int, int, int]

FIRST, LAST = 1920.0, 1999.0

# Half of the catalogue is from 1993 to 1997: those years take most of the way from light to dark.
_BAR_YEARS = (1920, 1940, 1960, 1980, 1990, 1993, 1995, 1997, 1999)
_BAR_COLOURS = np.array(
    [
        (74, 50, 30),
        (150, 112, 68),
        (214, 186, 132),
        (246, 236, 208),
        (250, 250, 250),
        (186, 212, 236),
        (92, 140, 196),
        (36, 62, 118),
        (10, 12, 30),
    ],
    dtype=np.float32,
)
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
# Rows of red, green and blue: the luminance, slightly lifted, in a brown tone.
_SEPIA = tuple(float(entry) for tone in (1.07, 0.93, 0.70) for entry in (*(_LUMA * 0.85 * tone), 22 * tone))


def bar_colour(year: float) -> RGB:
    """The ground under the title: brown, cream, white, blue, navy as the years go by."""
    return tuple(round(float(np.interp(year, _BAR_YEARS, channel))) for channel in _BAR_COLOURS.T)  # type: ignore[return-value]


def text_colour(ground: RGB) -> RGB:
    """Dark on light grounds, light on dark ones."""
    return (24, 20, 28) if float(np.dot(ground, _LUMA)) > 130 else (252, 246, 230)


def aged(art: Image.Image, year: float, rng: np.random.Generator) -> Image.Image:
    """The artwork as a print of that year would show it: partly sepia, darker towards the corners, grainy.

    Args:
        art: RGB.
        year: the film's.
        rng: the film's own, for the grain.
    """
    age = float(np.interp(year, (FIRST, 1945, 1970, 1990, LAST), (0.88, 0.75, 0.38, 0.1, 0.0)))
    faded = Image.blend(art, art.convert("RGB", _SEPIA), age)
    shape = (art.height, art.width)
    light = 1.0 - 0.55 * age * _vignette(shape)
    grain = _grain(shape, int(rng.integers(8)))
    grain = np.roll(grain, tuple(int(shift) for shift in rng.integers(0, 96, 2)), (0, 1)) * (2.0 + 20.0 * age)
    pixels = np.asarray(faded) * light[..., None] + grain[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255, out=pixels).astype(np.uint8))


@lru_cache(maxsize=4)
def _vignette(shape: tuple[int, int]) -> np.ndarray:
    """Squared distance from the middle, 1 at the corners; float32, of that shape."""
    down, across = (np.linspace(-1, 1, side, dtype=np.float32) for side in shape)
    return (down[:, None] ** 2 + across[None, :] ** 2) / 2


@lru_cache(maxsize=16)
def _grain(shape: tuple[int, int], number: int) -> np.ndarray:
    """One of a few fields of normal noise, in grains of 2 x 2 pixels; float32, of that shape."""
    rng = np.random.default_rng(number)
    coarse = rng.standard_normal([(side + 1) // 2 for side in shape], dtype=np.float32)
    return coarse.repeat(2, axis=0).repeat(2, axis=1)[: shape[0], : shape[1]]


def draw_frame(image: Image.Image, year: float) -> None:
    """Draws the decade's frame onto the cover: film edges, mats, stripes, a thin line."""
    draw, side = ImageDraw.Draw(image), image.width
    ground = bar_colour(year)
    if year < 1940:
        draw.rectangle((0, 0, side - 1, side - 1), outline=ground, width=9)
        draw.rectangle((12, 12, side - 13, side - 13), outline=(232, 214, 170), width=2)
        for x in (12, side - 13):
            for y in (12, side - 13):
                draw.ellipse((x - 7, y - 7, x + 7, y + 7), fill=(232, 214, 170), outline=ground, width=2)
    elif year < 1960:
        for left in (0, side - 14):
            draw.rectangle((left, 0, left + 13, side), fill=(22, 18, 16))
            for top in range(5, side, 18):
                draw.rounded_rectangle((left + 3, top, left + 10, top + 9), 2, fill=(236, 226, 200))
    elif year < 1980:
        draw.rectangle((0, 0, side - 1, side - 1), outline=(246, 238, 216), width=10)
        draw.rounded_rectangle((7, 7, side - 8, side - 8), 16, outline=(214, 120, 48), width=3)
    elif year < 1990:
        draw.rectangle((0, 0, side - 1, side - 1), outline=(20, 16, 40), width=5)
        draw.rectangle((5, 5, side - 6, side - 6), outline=(255, 64, 160), width=2)
        draw.rectangle((9, 9, side - 10, side - 10), outline=(64, 224, 255), width=1)
    else:
        draw.rectangle((0, 0, side - 1, side - 1), outline=ground, width=max(1, round(8 - (year - 1990) * 0.8)))

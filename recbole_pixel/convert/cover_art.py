"""The artwork of a drawn cover: a panel per genre, in its colours, with its pictogram large and as a pattern."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from recbole_pixel.convert.cover_eras import RGB
from recbole_pixel.convert.cover_pictograms import pattern, pictogram

WIDTH, HEIGHT = 224, 160
MAX_PANELS = 5

# Paper above, paper below, ink: the paper's hue is the genre's own.
COLOURS: dict[str, tuple[RGB, RGB, RGB]] = {
    "Action": ((255, 96, 0), (200, 24, 0), (255, 226, 92)),
    "Adventure": ((24, 168, 120), (4, 96, 84), (250, 236, 180)),
    "Animation": ((96, 208, 255), (32, 152, 240), (255, 255, 255)),
    "Children's": ((255, 168, 216), (248, 112, 176), (255, 252, 120)),
    "Comedy": ((255, 226, 40), (255, 190, 0), (110, 52, 0)),
    "Crime": ((96, 104, 120), (48, 54, 66), (244, 190, 60)),
    "Documentary": ((206, 204, 190), (150, 150, 92), (64, 66, 30)),
    "Drama": ((122, 34, 70), (70, 12, 42), (240, 206, 176)),
    "Fantasy": ((140, 84, 226), (76, 34, 160), (255, 240, 170)),
    "Film-Noir": ((40, 40, 40), (8, 8, 8), (222, 222, 222)),
    "Horror": ((24, 4, 6), (64, 0, 6), (226, 16, 24)),
    "Musical": ((238, 60, 216), (160, 16, 168), (255, 244, 255)),
    "Mystery": ((12, 92, 104), (2, 46, 58), (126, 236, 222)),
    "Romance": ((255, 196, 200), (250, 140, 152), (214, 12, 60)),
    "Sci-Fi": ((8, 28, 92), (2, 8, 40), (72, 232, 255)),
    "Thriller": ((36, 66, 30), (12, 28, 12), (184, 250, 40)),
    "War": ((106, 112, 60), (66, 70, 34), (206, 30, 22)),
    "Western": ((246, 182, 96), (204, 112, 44), (98, 42, 12)),
    "unknown": ((176, 176, 180), (128, 128, 134), (236, 236, 240)),
}


def artwork(genres: tuple[str, ...], rng: np.random.Generator) -> Image.Image:
    """The upper part of a cover, 224 x 160 pixels.

    Args:
        genres: keys of `COLOURS`; others count as unknown.
        rng: the film's own; decides everything but colours and pictograms.
    """
    art = Image.new("RGB", (WIDTH, HEIGHT))
    for genre, box in _panels(genres, upright=bool(rng.integers(2))):
        art.paste(_panel(genre, (box[2] - box[0], box[3] - box[1]), rng), box[:2])
    _confetti(art, genres, rng)
    return art


def _panels(genres: tuple[str, ...], upright: bool) -> list[tuple[str, tuple[int, int, int, int]]]:
    """The genres and their boxes (left, top, right, bottom): equal shares of the artwork."""
    known = [genre if genre in COLOURS else "unknown" for genre in genres] or ["unknown"]
    shown = list(dict.fromkeys(known))[:MAX_PANELS]
    length = WIDTH if upright else HEIGHT
    cuts = [round(length * share / len(shown)) for share in range(len(shown) + 1)]
    spans = zip(shown, cuts[:-1], cuts[1:], strict=True)
    if upright:
        return [(genre, (start, 0, end, HEIGHT)) for genre, start, end in spans]
    return [(genre, (0, start, WIDTH, end)) for genre, start, end in spans]


def _panel(genre: str, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """One genre's share: its paper with a light and a pattern on it, and large pictograms along the middle."""
    above, below, ink = COLOURS[genre]
    width, height = size
    panel = _paper(above, below, size)
    _light(panel, above, rng)
    step, left, top = int(rng.choice((26, 30, 34))), int(rng.integers(60)), int(rng.integers(60))
    mask = pattern(genre, step, WIDTH + 60, HEIGHT + 60).crop((left, top, left + width, top + height))
    panel.paste(ink, (0, 0), mask)
    side = 4 * round(min(width, height) * float(rng.uniform(0.7, 0.9)) / 4)
    n_large = max(1, round(max(width, height) / (side * 1.45)))
    tilt = int(rng.choice((-12, -6, 0, 6, 12)))
    for position in range(n_large):
        shift = float(rng.uniform(-0.11, 0.11)) / n_large
        along = max(width, height) * ((position + 0.5) / n_large + shift)
        x, y = (along, height / 2) if width >= height else (width / 2, along)
        _stamp(panel, genre, (round(x - side / 2), round(y - side / 2)), side, tilt)
    return panel


def _stamp(panel: Image.Image, genre: str, corner: tuple[int, int], side: int, tilt: int) -> None:
    """One large pictogram, with its shadow."""
    _, below, ink = COLOURS[genre]
    dark: RGB = (below[0] * 2 // 5, below[1] * 2 // 5, below[2] * 2 // 5)
    panel.paste(dark, (corner[0] + 3, corner[1] + 3), pictogram(genre, side, 85, tilt))
    panel.paste(ink, corner, pictogram(genre, side, 255, tilt))


def _paper(above: RGB, below: RGB, size: tuple[int, int]) -> Image.Image:
    slope = np.linspace(0, 1, size[1], dtype=np.float32)[:, None]
    rows = np.array(above) + slope * (np.array(below) - np.array(above))
    return Image.fromarray(rows[:, None, :].astype(np.uint8)).resize(size, Image.Resampling.NEAREST)


def _light(panel: Image.Image, colour: RGB, rng: np.random.Generator) -> None:
    """A brighter disc or fan of rays somewhere on the paper: where and which is the film's own."""
    draw = ImageDraw.Draw(panel, "RGBA")
    bright = (*((channel + 255) // 2 for channel in colour), 70)
    x, y = float(rng.uniform(0.15, 0.85)) * panel.width, float(rng.uniform(0.2, 0.8)) * panel.height
    kind, turn = int(rng.integers(3)), float(rng.uniform(0, 30))
    if kind == 0:
        radius = float(rng.uniform(0.3, 0.6)) * panel.height
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=bright)
    elif kind == 1:
        for ray in range(12):
            edges = [math.radians(30 * ray + turn + edge) for edge in (0, 13)]
            ends = [(x + 320 * math.cos(edge), y + 320 * math.sin(edge)) for edge in edges]
            draw.polygon([(x, y), *ends], fill=bright)
    else:
        lean = float(rng.uniform(-0.6, 0.6)) * panel.height
        for left in range(-200, panel.width + 200, 44):
            top, bottom = left + lean, left
            draw.polygon([(top, 0), (top + 16, 0), (bottom + 16, panel.height), (bottom, panel.height)], fill=bright)


def _confetti(art: Image.Image, genres: tuple[str, ...], rng: np.random.Generator) -> None:
    """A few small shapes that make films of the same genres different from each other."""
    draw = ImageDraw.Draw(art, "RGBA")
    inks = [COLOURS.get(genre, COLOURS["unknown"])[2] for genre in genres] or [COLOURS["unknown"][2]]
    for _ in range(int(rng.integers(3, 9))):
        x, y = int(rng.integers(0, WIDTH)), int(rng.integers(0, HEIGHT))
        radius, kind = int(rng.integers(3, 9)), int(rng.integers(3))
        colour = (*inks[int(rng.integers(len(inks)))], 190)
        if kind == 0:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        else:
            draw.regular_polygon((x, y, radius), 3 if kind == 1 else 4, rotation=int(rng.integers(90)), fill=colour)

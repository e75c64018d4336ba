"""Pictograms of the drawn covers: one unmistakable shape per genre, as a mask."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache

from PIL import Image, ImageDraw

Point = tuple[float, float]


class Pen:
    """Draws in a unit square, origin at the upper left, into a mask; `ink` 0 erases.

    Args:
        side: of the mask, in pixels.
    """

    def __init__(self, side: int) -> None:
        self.image = Image.new("L", (side, side), 0)
        self._draw = ImageDraw.Draw(self.image)
        self._side = side

    def polygon(self, points: Iterable[Point], ink: int = 255) -> None:
        """A filled polygon."""
        self._draw.polygon([(x * self._side, y * self._side) for x, y in points], fill=ink)

    def disc(self, x: float, y: float, radius: float, ink: int = 255, height: float | None = None) -> None:
        """A filled ellipse around (x, y); `height` is its vertical radius, that of a circle by default."""
        self._draw.ellipse(self._box(x, y, radius, height or radius), fill=ink)

    def ring(self, x: float, y: float, radius: float, width: float, height: float | None = None) -> None:
        """An ellipse's outline."""
        box = self._box(x, y, radius, height or radius)
        self._draw.ellipse(box, outline=255, width=max(1, round(width * self._side)))

    def arc(self, x: float, y: float, radius: float, start: int, end: int, width: float, ink: int = 255) -> None:
        """Part of a circle's outline, clockwise from `start` to `end` degrees, 0 being three o'clock."""
        self._draw.arc(self._box(x, y, radius, radius), start, end, fill=ink, width=max(1, round(width * self._side)))

    def line(self, points: Iterable[Point], width: float, ink: int = 255) -> None:
        """A line through the points, with round joints."""
        scaled = [(x * self._side, y * self._side) for x, y in points]
        self._draw.line(scaled, fill=ink, width=max(1, round(width * self._side)), joint="curve")

    def bar(self, left: float, top: float, right: float, bottom: float, radius: float = 0.0, ink: int = 255) -> None:
        """A filled rectangle with round corners."""
        box = [left * self._side, top * self._side, right * self._side, bottom * self._side]
        self._draw.rounded_rectangle(box, radius * self._side, fill=ink)

    def _box(self, x: float, y: float, width: float, height: float) -> list[float]:
        return [self._side * side for side in (x - width, y - height, x + width, y + height)]


@lru_cache(maxsize=2048)
def pictogram(genre: str, side: int, strength: int = 255, tilt: int = 0) -> Image.Image:
    """The genre's shape as an antialiased mask.

    Args:
        genre: a key of `SHAPES`; any other is a film reel.
        side: height and width in pixels.
        strength: value of the mask inside the shape, 1 to 255.
        tilt: degrees, counter-clockwise.
    """
    shape = _large(genre, tilt).resize((side, side), Image.Resampling.BOX)
    return shape.point([level * strength // 255 for level in range(256)])


@lru_cache(maxsize=256)
def _large(genre: str, tilt: int) -> Image.Image:
    """The shape at several times its final size, for the antialiasing."""
    pen = Pen(400)
    SHAPES.get(genre, _reel)(pen)
    return pen.image.rotate(tilt, Image.Resampling.BILINEAR) if tilt else pen.image


@lru_cache(maxsize=512)
def pattern(genre: str, step: int, width: int, height: int) -> Image.Image:
    """A faint mask of small pictograms in staggered rows, `step` pixels apart."""
    mask = Image.new("L", (width, height), 0)
    small = pictogram(genre, step * 5 // 8, strength=64)
    for row, y in enumerate(range(0, height, step)):
        for x in range(-(row % 2) * step // 2, width, step):
            mask.paste(small, (x, y))
    return mask


def _star_points(x: float, y: float, outer: float, inner: float, n_tips: int) -> list[Point]:
    turns = [(math.pi * step / n_tips - math.pi / 2, outer if step % 2 == 0 else inner) for step in range(2 * n_tips)]
    return [(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle, radius in turns]


def _reel(pen: Pen) -> None:
    pen.disc(0.5, 0.5, 0.44)
    for step in range(5):
        angle = 2 * math.pi * step / 5 - math.pi / 2
        pen.disc(0.5 + 0.26 * math.cos(angle), 0.5 + 0.26 * math.sin(angle), 0.11, ink=0)
    pen.disc(0.5, 0.5, 0.06, ink=0)


def _explosion(pen: Pen) -> None:
    pen.polygon(_star_points(0.5, 0.5, 0.49, 0.27, 11))
    pen.polygon(_star_points(0.5, 0.5, 0.2, 0.11, 11), ink=0)


def _compass(pen: Pen) -> None:
    pen.ring(0.5, 0.5, 0.46, 0.07)
    pen.polygon([(0.72, 0.28), (0.57, 0.57), (0.28, 0.72), (0.43, 0.43)])
    pen.disc(0.5, 0.5, 0.06, ink=0)


def _rainbow(pen: Pen) -> None:
    for radius in (0.47, 0.34, 0.21):
        pen.arc(0.5, 0.72, radius, 180, 360, 0.085)
    pen.bar(0.03, 0.72, 0.115, 0.8)
    pen.bar(0.885, 0.72, 0.97, 0.8)


def _balloons(pen: Pen) -> None:
    for x, y, radius in ((0.3, 0.32, 0.2), (0.7, 0.26, 0.2), (0.52, 0.52, 0.17)):
        pen.disc(x, y, radius, height=radius * 1.2)
        pen.line([(x, y + radius), (0.5, 0.97)], 0.025)
        pen.disc(x - 0.07, y - 0.08, 0.04, ink=0)


def _smile(pen: Pen) -> None:
    pen.disc(0.5, 0.5, 0.46)
    pen.disc(0.34, 0.38, 0.06, ink=0, height=0.09)
    pen.disc(0.66, 0.38, 0.06, ink=0, height=0.09)
    pen.arc(0.5, 0.5, 0.3, 20, 160, 0.08, ink=0)


def _handcuffs(pen: Pen) -> None:
    pen.ring(0.25, 0.62, 0.23, 0.085)
    pen.ring(0.75, 0.62, 0.23, 0.085)
    for x in (0.38, 0.5, 0.62):
        pen.ring(x, 0.32, 0.075, 0.035)
    pen.bar(0.24, 0.34, 0.34, 0.46)
    pen.bar(0.66, 0.34, 0.76, 0.46)


def _camera(pen: Pen) -> None:
    pen.bar(0.05, 0.42, 0.66, 0.84, 0.05)
    pen.polygon([(0.7, 0.58), (0.96, 0.44), (0.96, 0.82), (0.7, 0.68)])
    for x, radius in ((0.2, 0.14), (0.5, 0.17)):
        pen.disc(x, 0.26, radius)
        pen.disc(x, 0.26, 0.05, ink=0)


def _mask(pen: Pen) -> None:
    pen.polygon(
        [(0.1, 0.1), (0.5, 0.17), (0.9, 0.1), (0.88, 0.55), (0.72, 0.84), (0.5, 0.95), (0.28, 0.84), (0.12, 0.55)]
    )
    for x in (0.32, 0.68):
        pen.disc(x, 0.4, 0.1, ink=0, height=0.06)
    pen.arc(0.5, 0.86, 0.2, 205, 335, 0.07, ink=0)
    pen.polygon([(0.32, 0.5), (0.27, 0.61), (0.37, 0.61)], ink=0)
    pen.disc(0.32, 0.62, 0.05, ink=0)


def _moon(pen: Pen) -> None:
    pen.disc(0.45, 0.52, 0.42)
    pen.disc(0.62, 0.42, 0.36, ink=0)
    pen.polygon(_star_points(0.72, 0.32, 0.2, 0.06, 4))
    pen.polygon(_star_points(0.84, 0.68, 0.12, 0.04, 4))


def _blinds(pen: Pen) -> None:
    for step in range(6):
        top = 0.03 + 0.165 * step
        pen.polygon([(0.0, top + 0.03), (1.0, top - 0.03), (1.0, top + 0.055), (0.0, top + 0.115)])


def _skull(pen: Pen) -> None:
    pen.disc(0.5, 0.42, 0.4, height=0.38)
    pen.bar(0.28, 0.66, 0.72, 0.95, 0.06)
    pen.disc(0.33, 0.46, 0.12, ink=0)
    pen.disc(0.67, 0.46, 0.12, ink=0)
    pen.polygon([(0.5, 0.56), (0.43, 0.69), (0.57, 0.69)], ink=0)
    for x in (0.385, 0.5, 0.615):
        pen.bar(x - 0.018, 0.79, x + 0.018, 0.96, ink=0)


def _notes(pen: Pen) -> None:
    pen.disc(0.24, 0.8, 0.17, height=0.13)
    pen.disc(0.74, 0.72, 0.17, height=0.13)
    pen.bar(0.34, 0.18, 0.41, 0.8)
    pen.bar(0.84, 0.1, 0.91, 0.72)
    pen.polygon([(0.34, 0.16), (0.91, 0.06), (0.91, 0.24), (0.34, 0.34)])


def _keyhole(pen: Pen) -> None:
    pen.disc(0.5, 0.5, 0.48)
    pen.disc(0.5, 0.39, 0.15, ink=0)
    pen.polygon([(0.44, 0.45), (0.56, 0.45), (0.64, 0.78), (0.36, 0.78)], ink=0)


def _heart(pen: Pen) -> None:
    turns = [2 * math.pi * step / 60 for step in range(60)]
    curve = [
        (16 * math.sin(t) ** 3, 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t))
        for t in turns
    ]
    pen.polygon((0.5 + x / 35, 0.46 - y / 35) for x, y in curve)


def _planet(pen: Pen) -> None:
    pen.disc(0.5, 0.5, 0.3)
    ring = [(0.48 * math.cos(2 * math.pi * step / 60), 0.13 * math.sin(2 * math.pi * step / 60)) for step in range(61)]
    tilted = [(0.5 + 0.94 * x + 0.34 * y, 0.5 - 0.34 * x + 0.94 * y) for x, y in ring]
    pen.line(tilted[:32], 0.14, ink=0)
    pen.line(tilted, 0.065)
    pen.line([point for point in tilted[31:] if math.dist(point, (0.5, 0.5)) < 0.29], 0.1, ink=255)
    pen.disc(0.12, 0.2, 0.04)
    pen.disc(0.86, 0.84, 0.05)


def _eye(pen: Pen) -> None:
    upper = [(0.02 + 0.96 * step / 30, 0.5 - 0.34 * math.sin(math.pi * step / 30)) for step in range(31)]
    lower = [(x, 1.0 - y) for x, y in reversed(upper)]
    pen.polygon([*upper, *lower])
    pen.disc(0.5, 0.5, 0.23, ink=0)
    pen.disc(0.5, 0.5, 0.14)
    pen.disc(0.55, 0.44, 0.045, ink=0)


def _star(pen: Pen) -> None:
    pen.polygon(_star_points(0.5, 0.53, 0.5, 0.2, 5))


def _cactus(pen: Pen) -> None:
    pen.bar(0.41, 0.05, 0.59, 0.96, 0.09)
    pen.bar(0.12, 0.28, 0.26, 0.62, 0.07)
    pen.bar(0.12, 0.5, 0.5, 0.63, 0.06)
    pen.bar(0.74, 0.18, 0.88, 0.52, 0.07)
    pen.bar(0.5, 0.4, 0.88, 0.53, 0.06)


SHAPES: dict[str, Callable[[Pen], None]] = {
    "Action": _explosion,
    "Adventure": _compass,
    "Animation": _rainbow,
    "Children's": _balloons,
    "Comedy": _smile,
    "Crime": _handcuffs,
    "Documentary": _camera,
    "Drama": _mask,
    "Fantasy": _moon,
    "Film-Noir": _blinds,
    "Horror": _skull,
    "Musical": _notes,
    "Mystery": _keyhole,
    "Romance": _heart,
    "Sci-Fi": _planet,
    "Thriller": _eye,
    "War": _star,
    "Western": _cactus,
    "unknown": _reel,
}

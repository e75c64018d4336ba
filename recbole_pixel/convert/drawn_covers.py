"""A cover for a film of which only title, year and genres are known, drawn so that all three can be seen.

Genres part the artwork into panels; each has its own colours and its own pictogram, large and as a pattern. The year
sets the colour under the title, the frame, how far the print has turned sepia, and its grain. The title is written,
and seeds the layout and some confetti, so that no two covers are equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from recbole_pixel.convert.cover_art import HEIGHT, artwork
from recbole_pixel.convert.cover_eras import RGB, aged, bar_colour, draw_frame, text_colour
from recbole_pixel.convert.cover_text import draw_text, font, spoken
from recbole_pixel.store import encode_image

SIDE = 224
"""Height and width of a cover, in pixels."""

VERSION = "1"
"""Changes when the same film would be drawn otherwise, so that stores of older drawings are rebuilt."""

MIDDLE_YEAR = 1975


@dataclass(frozen=True)
class Film:
    """What is known of a film.

    Args:
        token: its item token.
        title: as MovieLens spells it, e.g. `Usual Suspects, The`.
        year: of release; None if unknown.
        genres: MovieLens's names; others are drawn as unknown.
    """

    token: str
    title: str
    year: int | None
    genres: tuple[str, ...]


class DrawnCovers:
    """A source of pictures that draws a film's cover when it is read.

    Args:
        films: the films; their tokens are distinct.
    """

    def __init__(self, films: Iterable[Film]) -> None:
        self._films = {film.token: film for film in films}
        self.name = "covers drawn from title, year and genres"

    def tokens(self) -> list[str]:
        """The films' item tokens."""
        return list(self._films)

    def read(self, token: str) -> bytes:
        """The cover as a JPEG file."""
        return encode_image(draw_cover(self._films[token]))

    def fingerprint(self) -> str:
        """Changes with what is known of the films, and with how they are drawn."""
        return hashlib.sha256(repr((VERSION, *self._films.values())).encode()).hexdigest()[:32]


def draw_cover(film: Film) -> np.ndarray:
    """The film's cover: uint8, shape (224, 224, 3), the same for equal films."""
    digest = hashlib.sha256(repr((film.title, film.year)).encode()).digest()
    rng = np.random.default_rng(np.frombuffer(digest, np.uint32))
    year = film.year if film.year is not None else MIDDLE_YEAR
    cover = Image.new("RGB", (SIDE, SIDE), bar_colour(year))
    cover.paste(aged(artwork(film.genres, rng), year, rng), (0, 0))
    draw_frame(cover, year)
    _write_title(cover, film, bar_colour(year))
    return np.array(cover)


def _write_title(cover: Image.Image, film: Film, ground: RGB) -> None:
    draw = ImageDraw.Draw(cover)
    colour = text_colour(ground)
    has_year = film.year is not None
    draw_text(draw, spoken(film.title), (20, HEIGHT + 1, SIDE - 20, SIDE - (25 if has_year else 12)), colour)
    if has_year:
        draw.text((SIDE / 2, SIDE - 19), str(film.year), fill=colour, font=font(11), anchor="mm")

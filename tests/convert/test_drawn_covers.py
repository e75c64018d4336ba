"""Drawn covers: the same film the same picture, and genre and year to be seen in it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import numpy as np
import pytest

from recbole_pixel.convert.cover_art import COLOURS
from recbole_pixel.convert.cover_pictograms import SHAPES
from recbole_pixel.convert.cover_text import spoken, wrapped
from recbole_pixel.convert.drawn_covers import DrawnCovers, Film, draw_cover

TITLES = ["Heat", "Brazil", "Kolya", "Gone with the Wind"]


def histogram(picture: np.ndarray) -> np.ndarray:
    """Share of the pixels in each of 4 x 4 x 4 colours."""
    bins = (picture // 64).astype(int) @ (16, 4, 1)
    return np.bincount(bins.ravel(), minlength=64) / bins.size


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(histogram(one) - histogram(other)).sum())


def test_the_same_film_has_the_same_bytes_in_any_order_and_thread() -> None:
    films = [Film(str(n), title, 1950 + 11 * n, ("Drama", "Sci-Fi")[: n % 2 + 1]) for n, title in enumerate(TITLES)]
    forwards = [DrawnCovers(films).read(film.token) for film in films]
    backwards = [DrawnCovers(films).read(film.token) for film in reversed(films)][::-1]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(DrawnCovers(films).read, [film.token for film in films] * 4))
    assert forwards == backwards
    assert threaded == forwards * 4
    assert len(set(forwards)) == len(films)


def test_every_genre_has_its_own_shape_and_colours() -> None:
    assert SHAPES.keys() == COLOURS.keys()
    assert len(SHAPES) == 19
    assert len({paper for paper, _, _ in COLOURS.values()}) == 19


@pytest.mark.parametrize("year", [1935, 1975, 1995])
def test_films_of_one_genre_look_closer_than_of_two(year: int) -> None:
    pictures = {genre: [draw_cover(Film("1", title, year, (genre,))) for title in TITLES] for genre in COLOURS}
    within = [distance(a, b) for group in pictures.values() for a, b in combinations(group, 2)]
    across = [
        distance(pictures[one][k], pictures[other][k + 1])
        for one, other in combinations(pictures, 2)
        for k in range(len(TITLES) - 1)
    ]
    # At random they would be equal. Sepia takes half of the colour from the oldest; their shapes still differ.
    assert np.mean(across) > (2.0 if year > 1960 else 1.4) * np.mean(within)


def test_the_year_changes_the_picture_smoothly() -> None:
    saturation, grounds = [], []
    for year in (1922, 1940, 1955, 1970, 1985, 1998):
        picture = draw_cover(Film("1", "Heat", year, ("Action",))).astype(float)
        art = picture[30:140, 30:-30]
        saturation.append((art.max(2) - art.min(2)).mean())
        grounds.append(picture[200, 20])
    assert saturation == sorted(saturation)
    assert saturation[-1] > 1.5 * saturation[0]
    for year in range(1990, 1998):
        one, other = (draw_cover(Film("1", "Heat", y, ("Action",)))[170, 26].astype(float) for y in (year, year + 1))
        assert np.abs(one - other).sum() > 30, year


def test_several_genres_share_the_canvas() -> None:
    def red(genres: tuple[str, ...]) -> float:
        art = draw_cover(Film("1", "Heat", 1998, genres))[:160].astype(int)
        return float(((art[..., 0] > 180) & (art[..., 1] < 130) & (art[..., 2] < 60)).mean())

    alone, half, third = red(("Action",)), red(("Action", "Sci-Fi")), red(("Action", "Sci-Fi", "Film-Noir"))
    assert half == pytest.approx(alone / 2, rel=0.3)
    assert third == pytest.approx(alone / 3, rel=0.3)


@pytest.mark.parametrize(
    "film",
    [
        Film("267", "unkonwn", None, ("unknown",)),
        Film("1", "", None, ()),
        Film("1", "Supercalifragilisticexpialidociousandfurthermore " * 5, 1890, ("Polka",)),
        Film("1", "东邪西毒 🎬", 2030, tuple(COLOURS)),
    ],
    ids=["nothing known", "empty", "too long", "beyond the tables"],
)
def test_odd_films_are_drawn(film: Film) -> None:
    picture = draw_cover(film)
    assert picture.shape == (224, 224, 3)
    assert picture.dtype == np.uint8


def test_the_fingerprint_follows_what_is_known() -> None:
    film = Film("1", "Heat", 1995, ("Action",))
    assert DrawnCovers([film]).fingerprint() == DrawnCovers([film]).fingerprint()
    assert DrawnCovers([film]).fingerprint() != DrawnCovers([Film("1", "Heat", 1996, ("Action",))]).fingerprint()


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Usual Suspects, The", "The Usual Suspects"),
        ("Seven (Se7en)", "Seven"),
        ("Double vie de Véronique, La (Double Life of Veronique, The)", "La Double vie de Véronique"),
        ("Avventura, L' (Adventure, The)", "L'Avventura"),
        ("(500)", "(500)"),
        ("Crouching, Hidden", "Crouching, Hidden"),
    ],
)
def test_titles_are_put_in_spoken_order(title: str, expected: str) -> None:
    assert spoken(title) == expected


def test_text_is_wrapped_to_fit() -> None:
    lines, size = wrapped("Wallace & Gromit: The Best of Aardman Animation", 184, 38)
    assert " ".join(lines) == "Wallace & Gromit: The Best of Aardman Animation"
    assert len(lines) * size * 1.12 <= 38
    assert wrapped("Heat", 184, 38) == (["Heat"], 28)

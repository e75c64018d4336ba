"""MovieLens-100K from the copy inside RecBole's wheel, with posters of the user's or covers drawn here."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import polars as pl

from recbole_pixel.convert.dataset import Source
from recbole_pixel.convert.drawn_covers import DrawnCovers, Film
from recbole_pixel.convert.interactions import InteractionColumns
from recbole_pixel.convert.items import ItemColumn, ItemSource
from recbole_pixel.convert.source_table import SourceTable
from recbole_pixel.convert.table_beside import TableBeside
from recbole_pixel.store import open_source

DRAWN = (
    "the covers are drawn here from each film's title, year and genres: posters belong to the studios and are not "
    "shipped; pass your own, named ID.jpg, with --covers DIR"
)
POSTERS = "posters belong to the studios: keep them and what you derive from them to your own research"


def ml_100k_source(covers: Path | None = None, with_images: bool = True, overviews: Path | None = None) -> Source:
    """MovieLens-100K as the source of a conversion: 943 users, 1,682 films, 100,000 ratings.

    Args:
        covers: posters named by item ID, such as 242.jpg: a folder or an archive; drawn from the films' data if None.
        with_images: whether there are pictures at all.
        overviews: a table of what films are about, with columns item_id and overview; it becomes the column
            description.

    Raises:
        FileNotFoundError: RecBole is not installed, or the posters or overviews are not there.
        ValueError: no film has an overview.
    """
    folder = dataset_folder()
    # RecBole's own files know no quoting on writing, and their cells hold no tab or line break.
    films = SourceTable(folder / "ml-100k.item", quote=None)
    kinds = {"movie_title": "token_seq", "release_year": "token", "class": "token_seq"}
    columns = tuple(ItemColumn(f"{name}:{kind}", kind, name=name) for name, kind in kinds.items())  # type: ignore[arg-type]
    notices: list[str] = []
    if overviews is not None:
        described = _with_overviews(films, overviews)
        columns += (ItemColumn("overview", "token_seq", name="description"),)
        n_films, n_described = described.count_matches()
        if not n_described:
            raise ValueError(f"{overviews} has an overview of none of the {n_films} films; its item_id is to be theirs")
        notices.append(f"{n_described} of {n_films} films have an overview")
    images = None
    if with_images:
        images = DrawnCovers(read_films(films)) if covers is None else open_source(covers)
    return Source(
        interactions=SourceTable(folder / "ml-100k.inter", quote=None),
        columns=InteractionColumns("user_id:token", "item_id:token", "timestamp:float", "rating:float"),
        items=ItemSource(films if overviews is None else described, "item_id:token", columns),
        images=images,
        notice=(*notices, *([DRAWN if covers is None else POSTERS] if with_images else [])),
    )


def _with_overviews(films: SourceTable, overviews: Path) -> TableBeside:
    more = SourceTable(overviews)
    return TableBeside(films.path, quote=None, key="item_id:token", more=more, more_key="item_id")


def dataset_folder() -> Path:
    """The ml-100k folder inside the installed RecBole, found without importing it.

    Raises:
        FileNotFoundError: RecBole is not installed, or is without the data.
    """
    spec = importlib.util.find_spec("recbole")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the data are in RecBole's wheel; install it: pip install --no-deps recbole==1.2.1")
    folder = Path(next(iter(spec.submodule_search_locations))) / "dataset_example" / "ml-100k"
    if not (folder / "ml-100k.inter").is_file():
        raise FileNotFoundError(f"no ml-100k.inter in {folder}; reinstall it: pip install --no-deps recbole==1.2.1")
    return folder


def read_films(table: SourceTable) -> list[Film]:
    """The films, in the table's order; the year of a film that has none is None."""
    text = table.text("item_id:token", "movie_title:token_seq", "release_year:token", "class:token_seq").collect()
    return [
        Film(token, title or "", int(year) if (year or "").isdigit() else None, tuple((genres or "").split()))
        for token, title, year, genres in text.with_columns(pl.all().str.strip_chars()).iter_rows()
    ]

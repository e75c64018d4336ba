"""What an item looks like on a page: its title and its picture, as far as the dataset has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from recbole_pixel.data.item_text import DEFAULT_COLUMNS, item_texts
from recbole_pixel.serve.page.thumbnails import thumbnail_uri
from recbole_pixel.store import ImageStore


class ItemFaces:
    """Titles and pictures of items.

    Args:
        titles: by token; an item without one is shown by its token.
        images: the pictures, or None.
    """

    def __init__(self, titles: Mapping[str, str], images: ImageStore | None) -> None:
        self._titles, self._images = titles, images

    def title(self, token: str) -> str:
        """An item's title, or its token."""
        return self._titles.get(token, token)

    def thumbnail(self, token: str) -> str | None:
        """An item's picture as a ``data:`` address; None where it has none."""
        if self._images is None or token not in self._images:
            return None
        return thumbnail_uri(self._images.read(token))


class Covers:
    """The pictures of a page, each in it once however often its item is shown.

    Args:
        faces: what items look like.
        tokens: of all items that the page shows.
    """

    def __init__(self, faces: ItemFaces, tokens: Iterable[str]) -> None:
        self._faces = faces
        found = {token: faces.thumbnail(token) for token in dict.fromkeys(tokens)}
        pictured = {token: uri for token, uri in found.items() if uri is not None}
        self._number = {token: number for number, token in enumerate(pictured)}
        self.rules = Markup(  # safe: base64 of pictures that were encoded here
            "\n".join(f'.c{number}{{background-image:url("{uri}")}}' for number, uri in enumerate(pictured.values()))
        )

    def title(self, token: str) -> str:
        """See :meth:`ItemFaces.title`."""
        return self._faces.title(token)

    def style(self, token: str) -> str:
        """Classes of the element that shows an item's picture."""
        return f"cover c{self._number[token]}" if token in self._number else "cover none"


def faces_of(config: Any) -> ItemFaces:
    """The titles and pictures in a run's dataset."""
    folder = Path(config["data_path"])
    images = Path(config["images"] or folder / "images.lmdb")
    titles = titles_in(folder / f"{config['dataset']}.item", config["ITEM_ID_FIELD"])
    return ItemFaces(titles, ImageStore(images) if images.exists() else None)


def titles_in(path: Path, key: str) -> dict[str, str]:
    """Titles by token, from the first column of an .item file that is called like one; empty where there is none."""
    for column in DEFAULT_COLUMNS[0] if path.is_file() else ():
        try:
            return item_texts(path, f"{{{column}}}", key)
        except ValueError:  # no such column
            continue
    return {}

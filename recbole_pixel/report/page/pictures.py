"""Pictures for a page that is to be light: each once, small, and many of them in one file."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps, features

from recbole_pixel.serve.page.faces import ItemFaces

QUALITY, SPRITE_QUALITY = 70, 65


class SmallFaces(ItemFaces):
    """Titles and pictures of items, these as WebP where Pillow can write it: half of JPEG's size.

    Args:
        faces: as the dataset has them.
    """

    def __init__(self, faces: ItemFaces) -> None:
        super().__init__({}, None)
        self._faces = faces
        self._pictures: dict[str, Image.Image | None] = {}

    def title(self, token: str) -> str:
        """See :meth:`ItemFaces.title`."""
        return self._faces.title(token)

    def thumbnail(self, token: str) -> str | None:
        """See :meth:`ItemFaces.thumbnail`."""
        image = self.picture(token)
        return None if image is None else data_uri(image, QUALITY)

    def picture(self, token: str) -> Image.Image | None:
        """An item's picture, small; None where it has none, or one that cannot be read."""
        if token not in self._pictures:
            self._pictures[token] = self._opened(token)
        return self._pictures[token]

    def _opened(self, token: str) -> Image.Image | None:
        try:
            found = self._faces.thumbnail(token)
        except ValueError:
            return None
        if found is None:
            return None
        return Image.open(io.BytesIO(base64.b64decode(found.partition(",")[2]))).convert("RGB")


def data_uri(image: Image.Image, quality: int) -> str:
    """A picture as a ``data:`` address."""
    form = "webp" if features.check("webp") else "jpeg"
    buffer = io.BytesIO()
    image.save(buffer, form, quality=quality)
    return f"data:image/{form};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


class Sprite:
    """Pictures of one size side by side in one file.

    Args:
        pictures: at least one.
        size: width and height of each, pixels.
    """

    def __init__(self, pictures: Sequence[Image.Image], size: tuple[int, int]) -> None:
        self.columns = min(len(pictures), 20)
        self.rows = -(-len(pictures) // self.columns)
        sheet = Image.new("RGB", (self.columns * size[0], self.rows * size[1]), "white")
        for number, picture in enumerate(pictures):
            row, column = divmod(number, self.columns)
            sheet.paste(ImageOps.fit(picture, size, Image.Resampling.LANCZOS), (column * size[0], row * size[1]))
        self.uri = data_uri(sheet, SPRITE_QUALITY)

    def place(self, number: int) -> tuple[float, float]:
        """Where a picture lies, as CSS's ``background-position`` counts: percent across and down."""
        row, column = divmod(number, self.columns)
        return 100 * column / max(1, self.columns - 1), 100 * row / max(1, self.rows - 1)


def shape_of(pictures: Sequence[Image.Image]) -> float:
    """Width by height of most pictures, within what cards can show."""
    if not pictures:
        return 1.0
    return float(np.clip(np.median([picture.width / picture.height for picture in pictures]), 0.6, 1.6))

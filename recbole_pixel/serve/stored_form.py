"""New pictures in the form in which a store keeps pictures, so that a model sees them as it saw those."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from recbole_pixel.serve.tokens import listed
from recbole_pixel.store import decode_image, encode_image
from recbole_pixel.store.errors import PictureError
from recbole_pixel.store.rgb import to_rgb

Picture = str | Path | bytes | Image.Image
"""A picture: where its file is, the bytes of one, or Pillow's."""


class StoredForm(NamedTuple):
    """What a store does to pictures before it keeps them.

    Attributes:
        size: side of the stored squares in pixels; None where files are kept as they are.
        fit: how other aspect ratios became square.
    """

    size: int | None
    fit: str

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> StoredForm:
        """The form that a store's manifest tells."""
        return cls(None, "squash") if manifest["keep_original"] else cls(int(manifest["size"]), manifest["fit"])

    def file(self, picture: Picture) -> bytes:
        """What a store would keep of ``picture``; one that comes from such a store stays as it is.

        Raises:
            FileNotFoundError: there is no such file.
            PictureError: it is no picture that can be read.
        """
        data = file_of(picture)
        if self.size is None or _is_kept(data, self.size):
            return data
        return encode_image(decode_image(data, self.size, self.fit))


def decoded(pictures: list[Picture], form: StoredForm, size: int) -> np.ndarray:
    """Pictures as an encoder reads them: uint8 (n, size, size, 3).

    Raises:
        FileNotFoundError: as of :meth:`StoredForm.file`.
        PictureError: likewise; names the picture.
    """
    found = []
    for number, picture in enumerate(pictures, 1):
        try:
            found.append(decode_image(form.file(picture), size))
        except PictureError as error:
            raise PictureError(f"{picture_name(picture, number)}: {error}") from error
    return np.stack(found)


def picture_name(picture: Picture, number: int) -> str:
    """What to call a new picture: its file, or by its number."""
    return str(picture) if isinstance(picture, (str, Path)) else f"picture {number}"


def names_of(images: object, n_items: int) -> list[str]:
    """What to call new items: their pictures' files, without endings; by number where no picture is given."""
    pictures = [] if images is None else listed(images)
    names = [picture_name(picture, number) for number, picture in enumerate(pictures, 1)]  # type: ignore[arg-type]
    return [Path(name).stem for name in names] or [f"item {number}" for number in range(1, n_items + 1)]


def file_of(picture: Picture) -> bytes:
    """The bytes of a picture's file; Pillow's as a PNG, upright and in RGB.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: it is none of what :data:`Picture` says.
    """
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, Image.Image):
        buffer = io.BytesIO()
        to_rgb(ImageOps.exif_transpose(picture), getattr(picture, "tag_v2", None)).save(buffer, "PNG")
        return buffer.getvalue()
    if not isinstance(picture, (str, os.PathLike)):
        raise TypeError(
            f"a picture is given as {_kind(picture)}; expected its file, the bytes of one, or Pillow's, such as "
            f"Image.fromarray(pixels)"
        )
    path = Path(picture)
    if not path.is_file():
        raise FileNotFoundError(f"there is no picture {path}")
    return path.read_bytes()


def _kind(given: object) -> str:
    return "None" if given is None else f"{type(given).__module__}.{type(given).__name__}"


def _is_kept(data: bytes, size: int) -> bool:
    """Whether ``data`` is what :func:`encode_image` makes of a square of ``size``: encoding it again would blur it."""
    if data[:2] != b"\xff\xd8" or b"Exif\x00\x00" in data:
        return False
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return image.size == (size, size) and _coding(image) == _own_coding()
    except (OSError, ValueError, SyntaxError):
        return False


@cache
def _own_coding() -> tuple[object, ...]:
    with Image.open(io.BytesIO(encode_image(np.zeros((16, 16, 3), np.uint8)))) as image:
        return _coding(image)


def _coding(image: Image.Image) -> tuple[object, ...]:
    """How a JPEG was quantised, and how its colours were sampled."""
    jpeg: Any = image
    return tuple(map(tuple, jpeg.quantization.values())), tuple(map(tuple, jpeg.layer))

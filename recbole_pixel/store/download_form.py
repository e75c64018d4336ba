"""How a fetched file becomes the picture that is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recbole_pixel.store.download_outcome import Body, Failure
from recbole_pixel.store.errors import PictureError
from recbole_pixel.store.picture import decode_image, encode_image

TEXT_TYPES = ("text/", "application/json", "application/xml", "application/xhtml")


@dataclass(frozen=True)
class StoredForm:
    """The form all pictures of a store have.

    Attributes:
        size: side of the squares in pixels.
        fit: how other aspect ratios become square, see `decode_image`.
        keep_original: the files are stored as they are.
    """

    size: int = 224
    fit: str = "squash"
    keep_original: bool = False

    def settings(self) -> dict[str, Any]:
        """What the store's manifest says of it."""
        return {
            "size": None if self.keep_original else self.size,
            "fit": None if self.keep_original else self.fit,
            "keep_original": self.keep_original,
        }

    def picture(self, body: Body) -> bytes | Failure:
        """The bytes to store; a failure if the answer is no picture, or one that is torn or too large to decode."""
        try:
            pixels = decode_image(body.data, self.size, self.fit)
        except PictureError as error:
            is_text = body.content_type.lower().startswith(TEXT_TYPES) or body.data.lstrip()[:1] in (b"<", b"{")
            return Failure("not_a_picture" if is_text else "damaged_picture", str(error))
        return body.data if self.keep_original else encode_image(pixels)

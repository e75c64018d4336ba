"""Many pictures on one, to be looked at."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from recbole_pixel.store.image_store import ImageStore
from recbole_pixel.store.picture import decode_image

CELL, CAPTION, GAP = 128, 18, 8


def sheet_size(n: int, columns: int) -> tuple[int, int]:
    """(width, height) in pixels of a sheet of `n` pictures, `columns` to a row."""
    rows = -(-n // columns)
    return GAP + min(n, columns) * (CELL + GAP), GAP + rows * (CELL + CAPTION + GAP)


def contact_sheet(store: ImageStore, tokens: Sequence[str], columns: int = 8) -> Image.Image:
    """The pictures of `tokens` in rows on white, each with its token below.

    Raises:
        ValueError: no tokens, or no columns; a picture cannot be decoded.
        MissingPictureError: a KeyError; the store has no picture of a token.
    """
    if not tokens or columns < 1:
        raise ValueError(f"{len(tokens)} pictures in {columns} columns: expected at least one of both")
    sheet = Image.new("RGB", sheet_size(len(tokens), columns), (255, 255, 255))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    for i, token in enumerate(tokens):
        left = GAP + i % columns * (CELL + GAP)
        top = GAP + i // columns * (CELL + CAPTION + GAP)
        sheet.paste(Image.fromarray(np.ascontiguousarray(decode_image(store.read(token), CELL, "pad"))), (left, top))
        caption = _shortened(token, draw, font)
        draw.text(
            (left + (CELL - draw.textlength(caption, font=font)) / 2, top + CELL + 2), caption, (40, 40, 40), font=font
        )
    return sheet


def random_tokens(store: ImageStore, n: int, seed: int) -> list[str]:
    """At most `n` of the store's tokens, drawn by `seed`, sorted."""
    if n < 1:
        raise ValueError(f"{n} pictures were asked for, expected at least 1")
    tokens = store.tokens()
    return sorted(random.Random(seed).sample(tokens, min(n, len(tokens))))


def _shortened(token: str, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """`token` on one line, cut where it would leave its cell."""
    token = "".join(letter if letter.isprintable() else " " for letter in token)
    for n_letters in range(min(len(token), CELL), 0, -1):
        caption = token if n_letters == len(token) else token[:n_letters] + "..."
        if draw.textlength(caption, font=font) <= CELL:
            return caption
    return ""

"""What Pillow does not look at in a PNG, or too strictly: its chunks and their checksums."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from recbole_pixel.store.errors import PictureError
from recbole_pixel.store.picture_faults import too_many_pixels

START = b"\x89PNG\r\n\x1a\n"
ICON = b"\0\0\1\0"
MAKE_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def check_png(data: bytes) -> None:
    """Compares the chunks of a PNG that make its pixels with their checksums, which Pillow does in part only.

    Raises:
        PictureError: one differs.
    """
    for kind, place, end in _chunks(data):
        if kind not in MAKE_PIXELS or end > len(data):  # Pillow finds what is cut
            continue
        if zlib.crc32(memoryview(data)[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise PictureError(f"damaged: the checksum of its {kind.decode()} differs")


def without_notes(data: bytes) -> bytes | None:
    """A PNG without texts, profiles and the like, for which Pillow may refuse one that is whole; None if it is none."""
    if not data.startswith(START):
        return None
    return START + b"".join(data[place:end] for kind, place, end in _chunks(data) if kind in MAKE_PIXELS)


def check_icon(data: bytes, max_pixels: int) -> None:
    """Refuses an ICO with a huge PNG in it, which Pillow decodes before its size can be asked; lets all else pass.

    Raises:
        PictureError: there is one.
    """
    place = data.find(START) if data.startswith(ICON) else -1
    while place >= 0:
        width = int.from_bytes(data[place + 16 : place + 20], "big")
        height = int.from_bytes(data[place + 20 : place + 24], "big")
        if width * height > max_pixels:
            raise too_many_pixels(width, height, max_pixels)
        place = data.find(START, place + 1)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, beginning and end of each chunk; the end may lie behind that of the file. Nothing of what is no PNG."""
    place = len(START) if data.startswith(START) else len(data)
    while place + 8 <= len(data):
        kind, end = data[place + 4 : place + 8], place + 12 + int.from_bytes(data[place : place + 4], "big")
        yield kind, place, end
        place = len(data) if kind == b"IEND" else end

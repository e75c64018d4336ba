"""How often a JPEG paints over itself: each scan is work for every pixel, and takes up to 13 bytes of the file."""

from __future__ import annotations

import re
from collections.abc import Iterator

from recbole_pixel.store.errors import PictureError

FEW = 30
MAX_SCANS = 100  # libtiff's limit, too; libjpeg's own scripts make 10 of colours and 24 of inks
MAX_PAINTED = 3_000_000_000  # pixels times scans: 33 scans of the largest picture, some five seconds
SCAN, END = 0xDA, 0xD9
FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")  # neither a stuffed byte nor a restart within a scan


def refuse_scan_bomb(data: bytes) -> None:
    """Counts the scans of a JPEG, if it may have many.

    Raises:
        PictureError: more than 100, or so many of so large a picture that they would take more than some seconds.
    """
    if data.count(b"\xff\xda") <= FEW:
        return
    n_scans = height = width = 0
    for marker, place in _segments(data):
        if marker in FRAMES:
            height, width = (int.from_bytes(data[at : at + 2], "big") for at in (place + 5, place + 7))
        n_scans += marker == SCAN
        if n_scans > MAX_SCANS or n_scans * height * width > MAX_PAINTED:
            raise PictureError(f"more than {n_scans - 1} scans of {width} x {height} pixels: a decompression bomb?")


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and place of each segment up to the end of the first picture, as libjpeg goes from one to the next."""
    found = MARKER.search(data, 2)
    while found is not None and data[found.start() + 1] != END:
        place = found.start()
        yield data[place + 1], place
        found = MARKER.search(data, place + 2 + int.from_bytes(data[place + 2 : place + 4], "big"))

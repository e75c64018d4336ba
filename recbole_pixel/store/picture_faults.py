"""Why bytes are no picture, in words for whoever has to replace the file."""

from __future__ import annotations

import zlib

from PIL import Image

from recbole_pixel.store.errors import PictureError

PNG_START = b"\x89PNG\r\n\x1a\n"
MUST_BE_WHOLE = (b"IHDR", b"PLTE", b"IDAT", b"tRNS")
TEXT = (b"<!doctype", b"<html", b"<head", b"<body", b"<?xml", b"<svg", b"<!--", b"<rss", b"{", b"[{")
OTHERS = {
    b"%PDF": "a PDF document",
    b"%!PS": "PostScript",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "gzip-compressed data",
    b"8BPS": "a Photoshop file",
    b"\xff\x0a": "a JPEG XL picture",
    b"\x00\x00\x00\x0cJXL ": "a JPEG XL picture",
    b"\x1aE\xdf\xa3": "a video (Matroska or WebM)",
    b"FLV": "a video (Flash)",
    b"\x7fELF": "a program",
    b"MZ": "a program",
}
BY_BRAND = {b"heic": "HEIF", b"heix": "HEIF", b"hevc": "HEIF", b"mif1": "HEIF", b"avif": "AVIF", b"avis": "AVIF"}
READERS = {"HEIF": "pillow-heif (`pip install pillow-heif`)", "AVIF": "Pillow 11.3 or newer"}


def too_many_pixels(width: int, height: int, most: int) -> PictureError:
    """The error of a picture that would take more memory than any cover is worth."""
    return PictureError(f"{width} x {height} pixels, more than {most:,}: a decompression bomb?")


def reason(data: bytes, error: Exception, max_pixels: int, formats: tuple[str, ...]) -> str:
    """Why `data` cannot be read.

    Args:
        data: the file.
        error: what Pillow raised.
        max_pixels: the most that is read.
        formats: Pillow's names of those that can be read here.
    """
    head = data[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {max_pixels:,} pixels: a decompression bomb?"
    if head.startswith(TEXT):
        return f"text, not a picture: {data[:40]!r}"
    for start, name in OTHERS.items():
        if data.startswith(start):
            return f"{name}, not a picture that can be read; convert it to JPEG or PNG first"
    kind = BY_BRAND.get(data[8:12]) if data[4:8] == b"ftyp" else None
    if kind is not None and kind not in formats:
        return (
            f"{data[8:12].decode()} pictures cannot be read by this Pillow; install {READERS[kind]}, or convert them "
            f"to JPEG or PNG first"
        )
    if data[4:8] == b"ftyp" and kind is None:
        return f"a video, or another file of the brand {data[8:12]!r}, not a picture"
    if not data.strip(b"\0"):
        return f"{len(data):,} bytes, all of them zero"
    if isinstance(error, Image.UnidentifiedImageError):
        if kind is not None:
            return f"damaged: it begins as {kind} does, but is cut short or broken"
        return f"not a picture of a known format: it begins {data[:8]!r}"
    return f"damaged: {error}"


def check_png(data: bytes) -> None:
    """Compares the parts of a PNG that make its pixels with their checksums, which Pillow does in part only.

    Raises:
        PictureError: one differs.
    """
    place = len(PNG_START) if data.startswith(PNG_START) else len(data)
    while place + 8 <= len(data):
        n_bytes, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        end = place + 8 + n_bytes
        if kind in MUST_BE_WHOLE and end + 4 <= len(data):  # a shorter one Pillow finds truncated
            checksum = int.from_bytes(data[end : end + 4], "big")
            if zlib.crc32(memoryview(data)[place + 4 : end]) != checksum:
                raise PictureError(f"damaged: the checksum of its {kind.decode()} differs")
        place = end + 4
        if kind == b"IEND":
            return


def check_icon(data: bytes, max_pixels: int) -> None:
    """Refuses an ICO with a huge PNG in it, whose own header says at most 256 x 256.

    Raises:
        PictureError: there is one.
    """
    place = data.find(PNG_START)
    while place >= 0:
        width = int.from_bytes(data[place + 16 : place + 20], "big")
        height = int.from_bytes(data[place + 20 : place + 24], "big")
        if width * height > max_pixels:
            raise too_many_pixels(width, height, max_pixels)
        place = data.find(PNG_START, place + 1)

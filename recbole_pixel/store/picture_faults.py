"""Why bytes are no picture, in words for whoever has to replace the file."""

from __future__ import annotations

from PIL import Image

from recbole_pixel.store.errors import PictureError

TEXT = (b"<!doctype", b"<html", b"<head", b"<body", b"<?xml", b"<svg", b"<!--", b"<rss", b"{", b"[{")
UNREAD = {
    b"%PDF": "a PDF document",
    b"%!PS": "PostScript",
    b"8BPS": "a Photoshop file",
    b"\xff\x0a": "a JPEG XL picture",
    b"\x00\x00\x00\x0cJXL ": "a JPEG XL picture",
}
OTHERS = {
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "gzip-compressed data",
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
    for start, name in (UNREAD | OTHERS).items():
        if data.startswith(start):
            remedy = "which is not read; convert it to JPEG or PNG first" if start in UNREAD else "no picture"
            return f"{name}, {remedy}"
    kind = BY_BRAND.get(data[8:12]) if data[4:8] == b"ftyp" else None
    if kind is not None and kind not in formats:
        return (
            f"{data[8:12].decode()} pictures cannot be read by this Pillow; install {READERS[kind]}, or convert them "
            f"to JPEG or PNG first"
        )
    if data[4:8] == b"ftyp" and kind is None:
        return f"a video, or another file of the brand {data[8:12]!r}, no picture"
    if not data.strip(b"\0"):
        return f"{len(data):,} bytes, all of them zero"
    if isinstance(error, Image.UnidentifiedImageError):
        if kind is not None:
            return f"damaged: it begins as {kind} does, but is cut short or broken"
        return f"not a picture of a known format: it begins {data[:8]!r}"
    return f"damaged: {error}"

"""Pictures as the web has them: the left half red, the right half blue, unless their name says otherwise."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Iterable

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from store_world import BLUE, RED, encoded

WHITE, GREY = (255, 255, 255), (128, 128, 128)
SIDE = 16


def halves(left: tuple[int, ...] = RED, right: tuple[int, ...] = BLUE, side: int = SIDE) -> np.ndarray:
    """Shape (side, side, channels)."""
    pixels = np.empty((side, side, len(left)), np.uint8)
    pixels[:, : side // 2], pixels[:, side // 2 :] = left, right
    return pixels


PLAIN = Image.fromarray(halves())
# Written by `cjpeg -quality 95 -sample 1x1 -arithmetic`: no library of ours writes arithmetic coding.
ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoKBggLDAsK"
    "DAkKCgr/2wBDAQICAgICAgUDAwUKBwYHCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgr/yQARCAAQABAD"
    "AREAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwD/ANx1Q3Y9JgwD4CO/ODzDexTK/9k="
)


def chunk(kind: bytes, body: bytes = b"", flip: int = 0) -> bytes:
    """A chunk of a PNG; `flip` spoils its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) ^ flip)


def png(
    pixels: np.ndarray, colour: int, depth: int = 8, extra: Iterable[tuple[bytes, bytes]] = (), **flips: int
) -> bytes:
    """A PNG by hand of big-endian samples (H, W, channels); `extra` chunks go in front of the data."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header, flips.get("IHDR", 0)), *(chunk(*pair) for pair in extra)]
    return b"".join(
        [b"\x89PNG\r\n\x1a\n", *parts, chunk(b"IDAT", zlib.compress(rows), flips.get("IDAT", 0)), chunk(b"IEND")]
    )


def deep(*colours: tuple[int, ...]) -> np.ndarray:
    """Halves of 16-bit samples, big-endian, the upper byte the colour and the lower one noise."""
    return (halves(*colours).astype(np.uint16) * 256 + 77).astype(">u2")


def png_header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    """The beginning of a PNG of that size."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)


def zipped_png(side: int) -> bytes:
    """A whole, valid PNG of side x side black pixels of one bit, a thousandth of their size."""
    row = bytes(1 + -(-side // 8))
    packer, parts = zlib.compressobj(1), []
    for start in range(0, side, 1000):
        parts.append(packer.compress(row * min(1000, side - start)))
    body = b"".join([*parts, packer.flush()])
    return png_header(side, side, 1, 0) + chunk(b"IDAT", body) + chunk(b"IEND")


def jpeg(image: Image.Image = PLAIN, **options: object) -> bytes:
    """A JPEG that keeps colours apart."""
    return encoded(image, "JPEG", **{"quality": 98, "subsampling": 0, **options})


def cmyk() -> bytes:
    """A CMYK JPEG, its inks inverted and marked as Adobe's."""
    return encoded(Image.fromarray(halves((0, 255, 255, 0), (255, 255, 0, 0)), "CMYK"), "JPEG", quality=98)


def unmarked(data: bytes) -> bytes:
    """A JPEG without Adobe's mark."""
    place = data.index(b"\xff\xee")
    return data[:place] + data[place + 2 + int.from_bytes(data[place + 2 : place + 4], "big") :]


def ycck() -> bytes:
    """Plain red as Photoshop writes it: the inks turned to YCbCr as if they were red, green and blue."""
    luma, blue, red = Image.new("RGB", (1, 1), (0, 255, 255)).convert("YCbCr").getpixel((0, 0))
    stored = tuple(255 - part for part in (luma, blue, red, 255))  # Pillow inverts what it writes
    data = encoded(Image.new("CMYK", (SIDE, SIDE), stored), "JPEG", quality=98)
    place = data.index(b"Adobe") + 11
    return data[:place] + b"\x02" + data[place + 1 :]


def turned(orientation: int, kind: str = "JPEG") -> bytes:
    """Stored so that by its EXIF orientation it is to be seen as the others: red left, blue right."""
    back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # of Image.Transpose: its inverse
    stored = PLAIN if back is None else PLAIN.transpose(Image.Transpose(back))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return jpeg(stored, exif=exif) if kind == "JPEG" else encoded(stored, kind, exif=exif)


def animation(kind: str, **options: object) -> bytes:
    """The usual picture, then a white one."""
    return encoded(PLAIN, kind, save_all=True, append_images=[Image.new("RGB", (SIDE, SIDE), WHITE)], **options)


def palette(**options: object) -> bytes:
    """A PNG of two colours by number."""
    image = Image.fromarray(halves((1,), (2,))[..., 0], "P")
    image.putpalette([0, 0, 0, *RED, *BLUE])
    return encoded(image, "PNG", **options)


def tiled_tiff() -> bytes:
    """A TIFF of one tile of 16 x 16, without compression."""
    pixels = halves().tobytes()
    tags = {
        256: (4, SIDE),
        257: (4, SIDE),
        259: (3, 1),
        262: (3, 2),
        277: (3, 3),
        284: (3, 1),
        322: (3, 16),
        323: (3, 16),
    }
    tags |= {258: (3, 8), 324: (4, 8), 325: (4, len(pixels))}
    entries = b"".join(
        struct.pack("<HHI", tag, kind, 1)
        + struct.pack("<I" if kind == 4 else "<HH", *((value,) if kind == 4 else (value, 0)))
        for tag, (kind, value) in sorted(tags.items())
    )
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + struct.pack("<H", len(tags)) + entries + bytes(4)


def turned_tiff() -> bytes:
    """A TIFF stored upside down."""
    tags = ImageFileDirectory_v2()
    tags[0x0112] = 3
    return encoded(PLAIN.transpose(Image.Transpose.ROTATE_180), "TIFF", tiffinfo=tags)


def grey_tiff(data: bytes, bits: int, photometric: int = 1, form: int = 1, orientation: int = 1) -> bytes:
    """A TIFF of SIDE x SIDE samples of grey in one strip, as they are."""
    tags = {256: SIDE, 257: SIDE, 258: bits, 259: 1, 262: photometric, 273: 8, 274: orientation, 277: 1, 278: SIDE}
    tags |= {279: len(data), 339: form}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)


def twelve_bits(values: np.ndarray) -> bytes:
    """Samples of 12 bits, two in three bytes."""
    first, second = values.reshape(-1, 2).astype(int).T
    return np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1).astype(np.uint8).tobytes()


def icon() -> bytes:
    """A small white picture and the usual one, larger."""
    large = PLAIN.resize((32, 32), Image.Resampling.NEAREST)
    return encoded(large, "ICO", sizes=[(16, 16), (32, 32)])


def icon_of(inside: bytes) -> bytes:
    """An ICO whose one entry is `inside`, of 256 x 256 as it says."""
    return struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(inside), 22) + inside


def with_app(data: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG with another block behind its beginning."""
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + data[2:]


def huge_icc() -> bytes:
    """A JPEG with a colour profile of two megabytes of nonsense, in parts."""
    data = jpeg()
    for part in range(32, 0, -1):
        data = with_app(data, 0xE2, b"ICC_PROFILE\0" + bytes([part, 32]) + b"x" * 65000)
    return data


def bmp_header(width: int, height: int) -> bytes:
    """A BMP of that size with four pixels in it."""
    return (
        struct.pack("<2sIHHI", b"BM", 70, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 16, 0, 0, 0, 0)
        + bytes(16)
    )


def many_scans(n_scans: int, image: Image.Image = PLAIN) -> bytes:
    """A progressive JPEG whose last scan comes `n_scans` times more."""
    data = jpeg(image, progressive=True)
    last, end = data.rindex(b"\xff\xda"), len(data) - 2
    return data[:end] + data[last:end] * n_scans + data[end:]


def read(data: bytes) -> Image.Image:
    """Opened by Pillow, as it is."""
    return Image.open(io.BytesIO(data))

"""Readers of other people's pictures that `fuzz.py` feeds, and what a target is."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Target(NamedTuple):
    """A reader.

    Attributes:
        seeds: inputs that it reads, or almost.
        read: given bytes; what it returns does not matter.
        documented: errors that it may raise. Any other is a finding, as are 10 seconds of CPU for one input, and memory
            without end.
    """

    seeds: list[bytes]
    read: Callable[[bytes], Any]
    documented: tuple[type[BaseException], ...]


def pictures() -> Iterator[bytes]:
    """Small pictures of many formats."""
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    for form, mode in (
        ("JPEG", "RGB"), ("JPEG", "CMYK"), ("PNG", "P"), ("PNG", "RGBA"), ("PNG", "I;16"), ("GIF", "P"),
        ("WEBP", "RGBA"), ("BMP", "RGB"), ("TIFF", "RGB"), ("PPM", "RGB"), ("ICO", "RGBA"), ("JPEG2000", "RGB"),
    ):  # fmt: skip
        image = Image.fromarray(noise)
        image = image.convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)
        stream, options = io.BytesIO(), {"progressive": True} if mode == "CMYK" else {}
        image.save(stream, form, **options)
        yield stream.getvalue()
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise).save(stream, "JPEG", exif=exif)
    yield stream.getvalue()


def picture_decoder(folder: Path) -> Target:
    """`decode_image`, at full size and resized."""
    from recbole_pixel.store import decode_image
    from recbole_pixel.store.errors import PictureError

    def read(data: bytes) -> None:
        for size, fit in ((None, "squash"), (4, "crop"), ((3, 5), "pad")):
            pixels = decode_image(data, size, fit)
            assert pixels.dtype == np.uint8
            assert pixels.ndim == 3
            assert pixels.shape[2] == 3
            assert size is None or pixels.shape[:2] == ((size, size) if isinstance(size, int) else size)

    return Target(list(pictures()), read, (PictureError,))


class LMDB_Image:
    """As PixelRec's generate_lmdb.py has it."""

    def __init__(self) -> None:
        self.channels, self.size, self.image, self.id = 3, (2, 3), bytes(18), "x"


def pixelrec_unpickler(folder: Path) -> Target:
    """`picture_in`, a record of PixelRec's LMDB."""
    from recbole_pixel.store.errors import PictureError
    from recbole_pixel.store.pixelrec_record import picture_in

    seeds = [pickle.dumps(LMDB_Image(), protocol) for protocol in (0, 2, 3, 4, 5)]
    seeds += [pickle.dumps(np.zeros((2, 3))), b"cos\nsystem\n(S'true'\ntR."]
    seeds += [b"\x80\x04})" + b"2\x86" * 40 + b"Ns."]  # a key of tuples that hold the one before twice
    return Target(seeds, picture_in, (PictureError,))


def lmdb_of_others(folder: Path) -> Target:
    """`PixelRecSource`, somebody else's LMDB file: its pages and what is in them."""
    import lmdb

    from recbole_pixel.store.errors import PictureError, StoreError
    from recbole_pixel.store.source_pixelrec import PixelRecSource

    path = folder / "data.mdb"
    with lmdb.open(str(path), subdir=False, lock=False, map_size=1 << 20) as made, made.begin(write=True) as writing:
        for number in range(40):
            writing.put(b"i%03d" % number, pickle.dumps(LMDB_Image()))
        writing.put(b"long", bytes(9000))

    def read(data: bytes) -> None:
        path.write_bytes(data)
        source = PixelRecSource(path)
        for token in [*source.tokens()[:50], "i001", "long"]:
            with suppress(PictureError):
                source.read(token)

    return Target([path.read_bytes()], read, (StoreError,))

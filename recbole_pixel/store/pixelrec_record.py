"""A value of PixelRec's LMDB: the pickle of one `LMDB_Image` object, read without running what a pickle may ask for."""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any

from recbole_pixel.store.errors import PictureError
from recbole_pixel.store.picture import MAX_BYTES, MAX_PIXELS

CLASS_NAME = "LMDB_Image"
MAX_STEPS = 1000
MAX_TUPLES = 4
STEPS = {
    "PROTO", "FRAME", "STOP", "MARK", "GLOBAL", "STACK_GLOBAL", "NEWOBJ", "REDUCE", "BUILD", "EMPTY_DICT", "SETITEM",
    "SETITEMS", "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "NONE", "NEWTRUE",
    "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES",
    "SHORT_BINBYTES", "MEMOIZE", "BINPUT", "BINGET",
}  # fmt: skip
"""What the pickle of one object of plain values is made of, in protocols 2 to 5. REDUCE is of no use, but what it would
call is then named."""
MAX_OVERHEAD = 64 * 1024
"""Bytes of a record beside its pixels, PixelRec's has about 150; its instructions and their numbers have bounds, too:
whatever a pickle does, it does little of it."""


def picture_in(record: bytes) -> bytes:
    """The picture in a record as a PPM file: a header of a few bytes and the pixels.

    Raises:
        PictureError: the record is anything but one `LMDB_Image` of at most 89 million pixels.
    """
    if len(record) > MAX_BYTES + MAX_OVERHEAD:
        raise PictureError(f"{len(record):,} bytes, more than {MAX_BYTES:,}")
    return _as_ppm(_unpickled(record))


class _OneClass(pickle.Unpickler):
    """Admits the class `LMDB_Image`, of whatever module it was pickled from, as a class that does nothing."""

    def find_class(self, module: str, name: str) -> Any:
        """An empty class, made anew for each record so that a record cannot leave anything in it for the next."""
        if name != CLASS_NAME:
            asked = ascii(f"{module}.{name}"[:100])
            raise PictureError(f"its pickle asks for {asked}, which is not PixelRec's {CLASS_NAME}: refused")
        return type(CLASS_NAME, (), {})

    def persistent_load(self, pid: Any) -> Any:
        """Refused: PixelRec has no such references."""
        raise PictureError("its pickle refers to an object outside of it: refused")


def _unpickled(record: bytes) -> dict[str, Any]:
    """The attributes of the one object in `record`."""
    try:
        _refuse_excess(record)
        picture = _OneClass(io.BytesIO(record)).load()
        attributes = vars(picture)
    except PictureError:
        raise
    except Exception as error:  # a damaged pickle raises whatever the stack machine stumbles over
        raise PictureError(f"not a pickled {CLASS_NAME}: {ascii(str(error)[:200])[1:-1]}") from error
    if isinstance(picture, type) or type(picture).__name__ != CLASS_NAME:
        raise PictureError(f"a pickled {type(picture).__name__}, expected {CLASS_NAME}")
    return attributes


def _refuse_excess(record: bytes) -> None:
    """Looks at the instructions without following them.

    A pickle may name memo slot four billion, for which the C unpickler would allocate 64 GB, promise a gigabyte that
    does not follow, build a dictionary whose keys all collide, or a key of tuples whose every one holds the one before
    twice, over which Python's hash takes for ever.
    """
    n_tuples = 0
    for step, (opcode, argument, _) in enumerate(pickletools.genops(record)):
        if opcode.name not in STEPS:
            raise PictureError(f"its pickle has the instruction {opcode.name}, which PixelRec's has not: refused")
        if opcode.name == "LONG1" and int(argument or 0).bit_length() > 64:
            raise PictureError("its pickle holds a number of more than 64 bits: refused")
        n_tuples += opcode.name.startswith("TUPLE")
        if n_tuples > MAX_TUPLES:
            raise PictureError(f"its pickle makes more than {MAX_TUPLES} tuples, PixelRec's makes one: refused")
        if step > MAX_STEPS:
            raise PictureError(f"its pickle has more than {MAX_STEPS} instructions: refused")


def _as_ppm(picture: dict[str, Any]) -> bytes:
    pixels, size, channels = picture.get("image"), picture.get("size"), picture.get("channels")
    if (
        not isinstance(pixels, bytes)
        or not isinstance(size, (tuple, list))
        or len(size) != 2
        or type(channels) is not int
    ):
        raise PictureError(f"its {CLASS_NAME} lacks pixels as bytes, a size of two numbers, or a number of channels")
    height, width = size
    if type(height) is not int or type(width) is not int or min(height, width) < 1:
        raise PictureError(f"the size in its {CLASS_NAME} is not two numbers above zero")
    if channels not in (1, 3):
        raise PictureError(f"its {CLASS_NAME} says {channels}, expected 1 or 3 channels")
    if height * width > MAX_PIXELS:
        raise PictureError(f"{height} x {width} pixels, more than {MAX_PIXELS:,}")
    if height * width * channels != len(pixels):
        raise PictureError(f"its {CLASS_NAME} has {len(pixels):,} bytes for {height} x {width} x {channels} pixels")
    return b"%s %d %d 255\n" % (b"P6" if channels == 3 else b"P5", width, height) + pixels

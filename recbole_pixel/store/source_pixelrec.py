"""PixelRec's own LMDB: token -> pickle of one `LMDB_Image` object, read without running what a pickle may ask for."""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

import lmdb

from recbole_pixel.store.environment import check_complete, environment
from recbole_pixel.store.errors import PictureError
from recbole_pixel.store.image_index import DATA

LIST_KEYS = (b"__keys__", b"__len__")
CLASS_NAME = "LMDB_Image"
MAX_MEMO = 1000


class PixelRecSource:
    """Pictures in the LMDB that PixelRec's generate_lmdb.py writes; the pixels come out as they are, without loss.

    Args:
        path: the LMDB file, or the folder with its `data.mdb`.

    Raises:
        StoreError: the file is cut short, or not LMDB.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        self.path = path / DATA if path.is_dir() else path
        self.name = str(path.resolve())
        self.warnings: list[str] = []
        check_complete(self.path)
        self._environment = environment(self.path)

    def tokens(self) -> list[str]:
        """The item tokens, in the order of their keys."""
        with self._environment.lmdb.begin() as transaction:
            keys = [key for key in transaction.cursor().iternext(keys=True, values=False) if key not in LIST_KEYS]
        return [key.decode("utf-8", "surrogateescape") for key in keys]

    def read(self, token: str) -> bytes:
        """The picture as a PPM file: a header of a few bytes and the pixels.

        Raises:
            PictureError: the record is anything but one `LMDB_Image`.
        """
        try:
            with self._environment.lmdb.begin() as transaction:
                record = transaction.get(token.encode("utf-8", "surrogateescape"))
        except lmdb.Error as error:
            raise PictureError(f"LMDB cannot read it: {error}") from error
        if record is None:
            raise PictureError("no such record")
        return _as_ppm(_unpickled(record))

    def fingerprint(self) -> str:
        """The file's size and time of change."""
        status = self.path.stat()
        return f"{status.st_size} {status.st_mtime_ns}"


class _OneClass(pickle.Unpickler):
    """Admits the class `LMDB_Image`, of whatever module it was pickled from, as a class that does nothing."""

    def find_class(self, module: str, name: str) -> Any:
        """An empty class, made anew for each record so that a record cannot leave anything in it for the next."""
        if name != CLASS_NAME:
            raise PictureError(f"its pickle asks for {module}.{name}, which is not PixelRec's {CLASS_NAME}: refused")
        return type(CLASS_NAME, (), {})

    def persistent_load(self, pid: Any) -> Any:
        """Refused: PixelRec has no such references."""
        raise PictureError("its pickle refers to an object outside of it: refused")


def _unpickled(record: bytes) -> dict[str, Any]:
    """The attributes of the one object in `record`."""
    try:
        _refuse_huge_memo(record)
        picture = _OneClass(io.BytesIO(record)).load()
        attributes = vars(picture)
    except PictureError:
        raise
    except Exception as error:  # a damaged pickle raises whatever the stack machine stumbles over
        raise PictureError(f"not a pickled {CLASS_NAME}: {error}") from error
    if type(picture).__name__ != CLASS_NAME:
        raise PictureError(f"a pickled {type(picture).__name__}, expected {CLASS_NAME}")
    return attributes


def _refuse_huge_memo(record: bytes) -> None:
    """A pickle may name memo slot four billion, for which the C unpickler would allocate 64 GB; PixelRec's has ten."""
    for opcode, argument, _ in pickletools.genops(record):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > MAX_MEMO:
            raise PictureError(f"its pickle names memo slot {argument}: refused")


def _as_ppm(picture: dict[str, Any]) -> bytes:
    pixels, size, channels = picture.get("image"), picture.get("size"), picture.get("channels")
    if not isinstance(pixels, bytes) or not isinstance(size, (tuple, list)) or len(size) != 2 or channels not in (1, 3):
        raise PictureError(f"its {CLASS_NAME} lacks pixels as bytes, a size of two numbers, or 1 or 3 channels")
    height, width = size
    if not isinstance(height, int) or not isinstance(width, int) or min(height, width) < 1:
        raise PictureError(f"the size in its {CLASS_NAME} is not two numbers above zero")
    if height * width * channels != len(pixels):
        raise PictureError(f"its {CLASS_NAME} has {len(pixels):,} bytes for {height} x {width} x {channels} pixels")
    return b"%s %d %d 255\n" % (b"P6" if channels == 3 else b"P5", width, height) + pixels

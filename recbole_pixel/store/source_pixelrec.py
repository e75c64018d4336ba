"""PixelRec's own LMDB: token -> pickle of one `LMDB_Image` object, read without running what a pickle may ask for."""

from __future__ import annotations

from pathlib import Path

from recbole_pixel.store.errors import PictureError, StoreError
from recbole_pixel.store.image_index import DATA, INDEX, PICTURES
from recbole_pixel.store.lmdb_file import LmdbFile
from recbole_pixel.store.pixelrec_record import picture_in

LIST_KEYS = (b"__keys__", b"__len__")


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
        self._file = LmdbFile(self.path)
        if self._file.main.n_entries == 2 and self._keys() == [INDEX, PICTURES]:
            raise StoreError(
                f"{self.path} is the data of an image store of ours without its manifest.json; copy the store again "
                f"whole, or build it again from what it was made of"
            )

    def tokens(self) -> list[str]:
        """The item tokens, in the order of their keys."""
        return [key.decode("utf-8", "surrogateescape") for key in self._keys() if key not in LIST_KEYS]

    def read(self, token: str) -> bytes:
        """The picture as a PPM file: a header of a few bytes and the pixels.

        Raises:
            PictureError: the record is anything but one `LMDB_Image`.
        """
        record = self._file.get(self._file.main, token.encode("utf-8", "surrogateescape"))
        if record is None:
            raise PictureError("no such record")
        return picture_in(record)

    def fingerprint(self) -> str:
        """The file's size and time of change."""
        status = self.path.stat()
        return f"{status.st_size} {status.st_mtime_ns}"

    def _keys(self) -> list[bytes]:
        return list(self._file.keys(self._file.main))

"""All that an image store's file holds, compared with its own checksums."""

from __future__ import annotations

import zlib
from pathlib import Path

from recbole_pixel.store.errors import StoreError
from recbole_pixel.store.image_index import INDEX, PICTURES, IndexEntry
from recbole_pixel.store.lmdb_file import LmdbFile


def verified_entries(file: Path) -> dict[str, IndexEntry]:
    """The index of an image store's LMDB file, every picture having been compared with it.

    Raises:
        StoreError: something in it is not as it was written.
    """
    opened = LmdbFile(file)
    index = opened.items(opened.database(INDEX))
    entries = {key.decode("utf-8", "replace"): IndexEntry.unpack(entry) for key, entry in index}
    n_pictures = 0
    for key, picture in opened.items(opened.database(PICTURES)):
        entry = entries.get(key.decode("utf-8", "replace"))
        if entry is None or zlib.crc32(picture) != entry.checksum:
            raise StoreError(f"the picture of item {key.decode('utf-8', 'replace')!r} in {file} is damaged")
        n_pictures += 1
    if n_pictures != len(entries):
        raise StoreError(f"{file} is damaged: {n_pictures} pictures, {len(entries)} in its index")
    return entries

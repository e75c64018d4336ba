"""How pictures lie in an image store's LMDB file: names, keys, and what the index keeps of each picture."""

from __future__ import annotations

import struct
from typing import NamedTuple

FORMAT = "recbole_pixel.images.1"
DATA = "data.mdb"
PICTURES, INDEX = b"pictures", b"index"
DATABASES = (PICTURES, INDEX)
MAX_KEY_BYTES = 511


class IndexEntry(NamedTuple):
    """What the index keeps of a picture."""

    checksum: int  # CRC-32 of the stored bytes
    source_checksum: int  # CRC-32 of the bytes they were made from
    source_stamp: bytes  # 8 bytes: the state of the source this picture was last compared with

    def pack(self) -> bytes:
        """The 16 bytes of the entry."""
        return struct.pack("<II8s", *self)

    @classmethod
    def unpack(cls, data: bytes) -> IndexEntry:
        """The entry in 16 bytes."""
        return cls(*struct.unpack("<II8s", data))


def key_of(token: str) -> bytes | None:
    """The LMDB key of an item token, None if LMDB cannot have such a key (empty, over 511 bytes, half a character)."""
    try:
        key = token.encode("utf-8")
    except UnicodeEncodeError:
        return None
    return key if 0 < len(key) <= MAX_KEY_BYTES else None

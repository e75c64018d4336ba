"""How pictures lie in an image store's LMDB file: names, keys, and what the index keeps of each picture."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from typing import NamedTuple

from recbole_pixel.store.errors import StoreError

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
        """The entry in 16 bytes.

        Raises:
            StoreError: another number of bytes.
        """
        if len(data) != 16:
            raise StoreError(f"an entry of the index has {len(data)} bytes, expected 16: damaged, build it again")
        return cls(*struct.unpack("<II8s", data))


def key_of(token: str) -> bytes | None:
    """The LMDB key of an item token, None if LMDB cannot have such a key (empty, over 511 bytes, half a character)."""
    try:
        key = token.encode("utf-8")
    except UnicodeEncodeError:
        return None
    return key if 0 < len(key) <= MAX_KEY_BYTES else None


def fingerprint_of(entries: Mapping[str, IndexEntry]) -> str:
    """A digest of tokens and pictures, whatever the order and the number of runs they were added in."""
    digest = hashlib.sha256()
    for token in sorted(entries):
        digest.update(token.encode("utf-8") + b"\0" + entries[token].checksum.to_bytes(4, "little"))
    return digest.hexdigest()[:32]

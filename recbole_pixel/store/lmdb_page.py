"""One page of an LMDB file, every offset in it checked before it is followed.

The layout is that of `MDB_page` and `MDB_node` in mdb.c of LMDB 0.9, whose own code trusts what it finds: a flipped bit
there ends in SIGBUS, SIGSEGV or an assertion that aborts the process.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from pathlib import Path
from typing import NamedTuple

from recbole_pixel.store.errors import StoreError

BRANCH, LEAF, OVERFLOW, META, LEAF2 = 1, 2, 4, 8, 32
KINDS = BRANCH | LEAF | OVERFLOW | META | LEAF2
HEADER_BYTES = 16
NODE_BYTES = 8
IN_OVERFLOW, IS_DATABASE = 1, 2  # flags of a leaf's node


def damaged(file: Path, why: str) -> StoreError:
    """The error of a file that is not as it was written."""
    return StoreError(f"{file} is damaged ({why}); copy it again, or delete it and build it again")


class Value(NamedTuple):
    """Where the value of a leaf's node is."""

    flags: int
    n_bytes: int
    place: int  # offset in the page, or the number of the overflow page where it begins


class Page:
    """A branch or a leaf.

    Args:
        file: where it is from, for the errors.
        raw: the bytes of the page.
        number: which page of the file it is; the page itself says so too.
        is_leaf: what it has to be, by its depth in the tree.

    Raises:
        StoreError: it is another page, another kind, or its fields do not fit each other.
    """

    def __init__(self, file: Path, raw: bytes, number: int, is_leaf: bool) -> None:
        self.file, self.raw, self.number = file, raw, number
        says, flags, lower, upper = struct.unpack_from("<Q2xHHH", raw)
        wanted = LEAF if is_leaf else BRANCH
        if says != number or flags & KINDS != wanted:
            kind = "leaf" if is_leaf else "branch"
            raise self._damaged(f"it says it is page {says} with flags {flags:#x}, expected a {kind} page")
        if lower % 2 or not HEADER_BYTES <= lower <= upper <= len(raw):
            raise self._damaged(f"its entries end at byte {lower} and its nodes begin at {upper}")
        self._nodes: tuple[int, ...] = struct.unpack_from(f"<{(lower - HEADER_BYTES) // 2}H", raw, HEADER_BYTES)
        self._upper = upper
        if not self._nodes:
            raise self._damaged("it has no nodes")

    def __len__(self) -> int:
        return len(self._nodes)

    def key(self, i: int) -> bytes:
        """The key of node `i`."""
        node = self._node(i)
        n_bytes = self.raw[node + 6] | self.raw[node + 7] << 8
        key = self.raw[node + NODE_BYTES : node + NODE_BYTES + n_bytes]
        if len(key) != n_bytes:
            raise self._damaged("a key reaches beyond it")
        return key

    def child(self, i: int) -> int:
        """The number of the page below node `i` of a branch."""
        low, high, highest = struct.unpack_from("<HHH", self.raw, self._node(i))
        return int(low | high << 16 | highest << 32)

    def value(self, i: int) -> Value:
        """Where the value of node `i` of a leaf is."""
        node = self._node(i)
        low, high, flags, key_bytes = struct.unpack_from("<HHHH", self.raw, node)
        start, n_bytes = node + NODE_BYTES + key_bytes, low | high << 16
        if start + (8 if flags & IN_OVERFLOW else n_bytes) > len(self.raw):
            raise self._damaged("a value reaches beyond it")
        return Value(flags, n_bytes, struct.unpack_from("<Q", self.raw, start)[0] if flags & IN_OVERFLOW else start)

    def below(self, key: bytes) -> int:
        """The number of the page below the node of a branch whose keys include `key`; the first has no key."""
        return self.child(bisect_right(range(1, len(self)), key, key=self.key))

    def find(self, key: bytes) -> int | None:
        """The node of a leaf with just this key, or None."""
        i = bisect_left(range(len(self)), key, key=self.key)
        return i if i < len(self) and self.key(i) == key else None

    def _node(self, i: int) -> int:
        """Where node `i` begins in the page."""
        node = self._nodes[i]
        if not self._upper <= node <= len(self.raw) - NODE_BYTES:
            raise self._damaged("a node lies outside of it")
        return node

    def _damaged(self, why: str) -> StoreError:
        return damaged(self.file, f"page {self.number}: {why}")

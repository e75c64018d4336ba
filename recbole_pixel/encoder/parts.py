"""Several arrays of an item as one record of bytes: what carries records need not know how many things an item is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor


@dataclass(frozen=True)
class Part:
    """One of an item's arrays.

    Attributes:
        shape: as it is stored.
        dtype: of its numbers.
        channels_last: whether it is stored as (H, W, C), to be seen as (C, H, W).
        from_trunk: whether it already went through the trunk of its encoder.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    channels_last: bool = False
    from_trunk: bool = True

    @property
    def n_bytes(self) -> int:
        """Size of one item's array."""
        return prod(self.shape) * self.dtype.itemsize


class Parts:
    """The layout of records: each part's bytes, one behind the other, then a byte per part: whether the item has it.

    Args:
        parts: in the order of the record.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(parts)
        self.n_bytes = sum(part.n_bytes for part in self.parts) + len(self.parts)

    def pack(self, arrays: Sequence[Tensor], present: Tensor, out: Tensor) -> Tensor:
        """Records of items, written into ``out``.

        Args:
            arrays: of each part, as it is stored, (U, *shape).
            present: bool, (U, number of parts).
            out: uint8, (U, :attr:`n_bytes`), on the device of the arrays.
        """
        start = 0
        if not len(out):
            return out
        for part, array in zip(self.parts, arrays, strict=True):
            out[:, start : start + part.n_bytes] = array.flatten(1).view(torch.uint8)
            start += part.n_bytes
        out[:, start:] = present
        return out

    def unpack(self, records: Tensor) -> tuple[list[Tensor], Tensor]:
        """Each part's arrays, (U, ...), and which of them the items have, bool, (U, number of parts).

        Args:
            records: uint8, (U, :attr:`n_bytes`).
        """
        arrays, start = [], 0
        for part in self.parts:
            # a copy even of one row: numbers wider than a byte must start where a multiple of their width does
            own = records[:, start : start + part.n_bytes].clone(memory_format=torch.contiguous_format)
            array = own.view(part.dtype).view(len(records), *part.shape)
            arrays.append(array.permute(0, 3, 1, 2) if part.channels_last else array)
            start += part.n_bytes
        return arrays, records[:, start:].bool()

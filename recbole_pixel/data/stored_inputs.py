"""Arrays of items, by item id: read from a store, or kept on the device that trains."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from recbole_pixel.store import ArrayStore

BLOCK = 256  # records moved to the device at a time


class StoredInputs:
    """Arrays of items, read from an ``ArrayStore`` by item id.

    Args:
        store: where they lie.
        records: record number of each item id, (N,); entry 0, the padding's, is never read.
        from_trunk: whether they already went through the encoder's trunk.
        channels_last: whether records are (H, W, C), to be seen as (C, H, W).
        is_bf16: whether records are the bytes of bf16 numbers, a type that numpy lacks.

    Attributes:
        device: where fetched arrays are.
    """

    device = torch.device("cpu")

    def __init__(
        self,
        store: ArrayStore,
        records: np.ndarray,
        *,
        from_trunk: bool,
        channels_last: bool = False,
        is_bf16: bool = False,
    ) -> None:
        self.store, self.records = store, records
        self.from_trunk, self.channels_last, self.is_bf16 = from_trunk, channels_last, is_bf16

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a record as it is stored."""
        return self.store.shape

    @property
    def dtype(self) -> np.dtype:
        """Type of a record's numbers."""
        return self.store.dtype

    def fetch(self, ids: Tensor, out: np.ndarray | None = None) -> Tensor:
        """Arrays of the items ``ids`` (U,), each >= 1: shape (U, ...), in ``out`` where it is given."""
        return self._seen(self.raw(ids, out))

    def raw(self, ids: Tensor, out: np.ndarray | None = None) -> Tensor:
        """As :meth:`fetch`, with the axes as they are stored, contiguous."""
        return self._numbers(self.store.gather(self.records[ids.cpu().numpy()], out))

    def _numbers(self, arrays: np.ndarray) -> Tensor:
        return torch.from_numpy(arrays).view(torch.bfloat16) if self.is_bf16 else torch.from_numpy(arrays)

    def _seen(self, arrays: Tensor) -> Tensor:
        return arrays.permute(0, 3, 1, 2) if self.channels_last else arrays


class DeviceInputs(StoredInputs):
    """Arrays of all items, copied to a device once and gathered there: a step moves ids alone.

    Args:
        inputs: what to copy.
        device: where to.
    """

    def __init__(self, inputs: StoredInputs, device: torch.device) -> None:
        super().__init__(
            inputs.store,
            inputs.records,
            from_trunk=inputs.from_trunk,
            channels_last=inputs.channels_last,
            is_bf16=inputs.is_bf16,
        )
        self.device = device
        used, places = np.unique(self.records[1:], return_inverse=True)
        self.places = torch.from_numpy(np.append(0, places)).to(device)
        self.table = self._copied(used)

    def _copied(self, records: np.ndarray) -> Tensor:
        """The arrays of ``records`` (R,), as they are stored, on the device: (R, ...)."""
        kind = self._numbers(np.empty(self.shape, self.dtype)).dtype
        table = torch.empty((len(records), *self.shape), dtype=kind, device=self.device)
        starts = range(0, len(records), BLOCK)
        for start in tqdm(starts, desc=f"Copying to {self.device}", unit="block", disable=len(starts) < 8):
            part = records[start : start + BLOCK]
            table[start : start + BLOCK] = self._numbers(self.store.gather(part)).to(self.device)
        return table

    def raw(self, ids: Tensor, out: np.ndarray | None = None) -> Tensor:
        """Arrays of the items ``ids`` (U,), each >= 1, as they are stored: shape (U, ...), on the device.

        Args:
            ids: on any device.
            out: where to put them; only where the device is the CPU.
        """
        target = None if out is None else self._numbers(out[: len(ids)])
        places = self.places[ids.to(self.device)]
        return torch.index_select(self.table, 0, places, out=target)

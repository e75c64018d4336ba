"""A ring of reused host buffers: allocating a fresh batch of pictures costs seven times the copy into an old one."""

from __future__ import annotations

import queue
import threading

import numpy as np
import torch
from torch import Tensor

from recbole_pixel.data.pictures import StoredInputs

SLOTS = 3  # one that trains, one that is ready, one that is being filled


class Ring:
    """Buffers that item inputs are fetched into; a slot is free again when its batch has been trained on.

    Args:
        inputs: where arrays come from; None when batches carry none.
        n_slots: buffers, which is also how many batches may be under way.
    """

    def __init__(self, inputs: StoredInputs | None, n_slots: int = SLOTS) -> None:
        self.inputs = inputs
        self.buffers: list[np.ndarray | None] = [None] * n_slots
        self.free: queue.Queue[int] = queue.Queue()
        for slot in range(n_slots):
            self.free.put(slot)

    def acquire(self, stopped: threading.Event) -> int | None:
        """The number of a free slot; None when the consumer has stopped."""
        slot = self.free.get()
        return None if stopped.is_set() or slot < 0 else slot

    def release(self, slot: int) -> None:
        """Gives a slot back."""
        self.free.put(slot)

    def close(self) -> None:
        """Wakes a waiting producer for good."""
        self.free.put(-1)

    def fetch(self, slot: int, ids: Tensor) -> Tensor:
        """Arrays of items ``ids``, in the slot's buffer: shape (len(ids), ...)."""
        assert self.inputs is not None
        buffer = self.buffers[slot]
        if buffer is None or len(buffer) < len(ids):
            buffer = self.buffers[slot] = self._allocate(len(ids) + len(ids) // 4)
        return self.inputs.fetch(ids, out=buffer)

    def _allocate(self, n_records: int) -> np.ndarray:
        assert self.inputs is not None
        empty = np.empty((n_records, *self.inputs.shape), dtype=self.inputs.dtype)
        if not torch.cuda.is_available():
            return empty
        return torch.from_numpy(empty).pin_memory().numpy()  # pinned: copies to the device run beside the step

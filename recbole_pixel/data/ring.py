"""A ring of reused host buffers: allocating a fresh batch of pictures costs seven times the copy into an old one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from recbole_pixel.data.stored_inputs import StoredInputs
from recbole_pixel.data.transfer import Transfer

SLOTS = 3  # one that trains, one that is ready, one that is being filled


class Ring:
    """Buffers that item inputs are fetched into; a slot is free again when its batch has been trained on.

    Batches for a CUDA device are copied there from pinned buffers, on a stream of their own. Made by the thread that
    trains; filled by another.

    Args:
        inputs: where arrays come from; None when batches carry none.
        device: where batches go; other accelerators than CUDA take them from the CPU's memory themselves.
        n_slots: buffers, which is also how many batches may be under way.
    """

    def __init__(self, inputs: StoredInputs | None, device: torch.device | str = "cpu", n_slots: int = SLOTS) -> None:
        self.inputs, self.device = inputs, torch.device(device)
        self.transfer = Transfer(self.device, n_slots) if self.device.type == "cuda" else None
        self.buffers: list[np.ndarray | None] = [None] * n_slots
        self.free: queue.Queue[int] = queue.Queue()
        for slot in range(n_slots):
            self.free.put(slot)

    def acquire(self, stopped: threading.Event) -> int | None:
        """The number of a free slot; None when the consumer has stopped."""
        slot = self.free.get()
        if stopped.is_set() or slot < 0:
            return None
        if self.transfer is not None:
            self.transfer.wait(slot)
        return slot

    def release(self, slot: int) -> None:
        """Gives a slot back, in the thread that trains."""
        if self.transfer is not None:
            self.transfer.release(slot)
        self.free.put(slot)

    def close(self) -> None:
        """Wakes a waiting producer for good."""
        self.free.put(-1)

    def send(self, fields: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of a batch, on the ring's device where that is CUDA."""
        if self.transfer is None:
            return dict(fields)
        return self.transfer.run(lambda: {name: tensor.to(self.device) for name, tensor in fields.items()})

    def fetch(self, slot: int, ids: Tensor) -> Tensor:
        """Arrays of items ``ids``, each >= 1, shape (len(ids), ...): in the slot's buffer, or on a CUDA device."""
        assert self.inputs is not None
        if self.inputs.device.type == "cuda":
            return self._sent(ids)
        return self._sent(ids, self._buffer(slot, len(ids)))

    def _sent(self, ids: Tensor, buffer: np.ndarray | None = None) -> Tensor:
        assert self.inputs is not None
        inputs = self.inputs
        if self.transfer is None:
            return inputs.fetch(ids, out=buffer)

        def work() -> dict[str, Tensor]:
            return {"arrays": inputs.fetch(ids, out=buffer).to(self.device, non_blocking=True)}

        return self.transfer.run(work)["arrays"]

    def _buffer(self, slot: int, n_records: int) -> np.ndarray:
        buffer = self.buffers[slot]
        if buffer is None or len(buffer) < n_records:
            buffer = self.buffers[slot] = self._allocate(n_records + n_records // 4)
        return buffer

    def _allocate(self, n_records: int) -> np.ndarray:
        assert self.inputs is not None
        empty = np.empty((n_records, *self.inputs.shape), dtype=self.inputs.dtype)
        if self.transfer is None:
            return empty
        return torch.from_numpy(empty).pin_memory().numpy()  # pinned: copied by the device itself, beside the step

"""Copies to a CUDA device beside the step that runs there."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


class Transfer:
    """Work for a CUDA device on a stream of its own, waited for by the thread that asks for it.

    That thread prepares batches, and may wait; the one that trains never does. What is handed to it is complete, and
    its memory is given to nobody else before the step that reads it is done, however far the device lags behind.

    Args:
        device: where to.
        n_slots: batches under way.
    """

    def __init__(self, device: torch.device, n_slots: int) -> None:
        self.stream = torch.cuda.Stream(device)
        self.reader = torch.cuda.current_stream(device)  # of the thread that trains, which makes this object
        self.stream.wait_stream(self.reader)  # torch's streams do not wait by themselves for the table of DeviceInputs
        self.consumed = [torch.cuda.Event() for _ in range(n_slots)]

    def release(self, slot: int) -> None:
        """Notes, in the thread that trains, that all that reads the slot's batch has been given to the device."""
        self.consumed[slot].record(torch.cuda.current_stream(self.stream.device))

    def wait(self, slot: int) -> None:
        """Waits until the device has done what :meth:`release` noted: it is never more than the slots behind."""
        self.consumed[slot].synchronize()

    def run(self, work: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """What ``work`` makes on the device, when it is there. Host memory that it copied from may then be reused."""
        with torch.cuda.stream(self.stream):
            made = dict(work())
        self.stream.synchronize()
        for tensor in made.values():
            if tensor.is_cuda:
                tensor.record_stream(self.reader)
        return made

"""What an encoder of several things reads: a picture and a text, each from a store of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from recbole_pixel.data.stored_inputs import StoredInputs
from recbole_pixel.encoder.parts import Part, Parts


class JointInputs:
    """Records of bytes that hold several arrays of an item, see :class:`~recbole_pixel.encoder.parts.Parts`.

    Which parts went through their encoders' trunks, the layout says; to the tower all of it goes to the head.

    Args:
        inputs: of each part; on one device.
        present: whether each item has each part, bool, (N, number of parts); row 0, the padding's, is never read.

    Attributes:
        layout: how records are laid out.
        device: where fetched records are: that of the parts, where all lie on one; else the CPU.
    """

    from_trunk = True

    def __init__(self, inputs: Sequence[StoredInputs], present: np.ndarray) -> None:
        self.inputs = tuple(inputs)
        self.layout = Parts([_part(part) for part in self.inputs])
        devices = {part.device for part in self.inputs}
        self.device = devices.pop() if len(devices) == 1 else torch.device("cpu")
        self.present = torch.from_numpy(np.ascontiguousarray(present, dtype=bool)).to(self.device)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a record."""
        return (self.layout.n_bytes,)

    @property
    def dtype(self) -> np.dtype:
        """Type of a record's numbers."""
        return np.dtype(np.uint8)

    def fetch(self, ids: Tensor, out: np.ndarray | None = None) -> Tensor:
        """Records of the items ``ids`` (U,), each >= 1: uint8, (U, bytes), in ``out`` where it is given."""
        if out is None:
            records = torch.empty((len(ids), *self.shape), dtype=torch.uint8, device=self.device)
        else:
            records = torch.from_numpy(out[: len(ids)])
        arrays = [part.raw(ids).to(self.device) for part in self.inputs]
        return self.layout.pack(arrays, self.present[ids.to(self.device)], records)


def _part(inputs: StoredInputs) -> Part:
    return Part(
        inputs.shape, inputs.raw(torch.zeros(0, dtype=torch.long)).dtype, inputs.channels_last, inputs.from_trunk
    )

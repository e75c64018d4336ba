"""Item inputs that say which item they are of, and the batches of a loader, for the tests of loaders."""

from __future__ import annotations

import numpy as np
import torch

from recbole_pixel.data.loader import PixelTrainDataLoader


class Numbered:
    """Item inputs that are the item's id, four times over; counts what is fetched."""

    shape, dtype, from_trunk, device = (4,), np.dtype(np.int64), True, torch.device("cpu")

    def __init__(self) -> None:
        self.fetched: list[list[int]] = []

    def fetch(self, ids: torch.Tensor, out: np.ndarray | None = None) -> torch.Tensor:
        self.fetched.append(ids.tolist())
        target = np.empty((len(ids), 4), np.int64) if out is None else out[: len(ids)]
        target[:] = ids.numpy()[:, None]
        return torch.from_numpy(target)


def epoch_of(loader: PixelTrainDataLoader) -> list[dict[str, torch.Tensor]]:
    return [{field: batch[field].clone() for field in batch.columns} for batch in loader]

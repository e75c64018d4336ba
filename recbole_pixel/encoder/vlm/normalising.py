"""Pictures as a processor of transformers makes them, from uint8 on any device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Normalising(nn.Module):
    """Shifts and scales pictures as an image processor does; it resizes nothing.

    Args:
        pictures: the image processor of transformers: its factor, mean and deviation are taken.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, pictures: Any) -> None:
        super().__init__()
        for key, values in (("mean", pictures.image_mean), ("std", pictures.image_std)):
            value = torch.tensor([float(number) for number in values]).view(1, 3, 1, 1)
            self.register_buffer(key, value / float(pictures.rescale_factor), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Float pictures of uint8 (U, 3, S, S), on their device."""
        return pixels.to(self.mean.dtype).sub_(self.mean).div_(self.std)

    def identity(self) -> dict[str, object]:
        """What pictures are shifted and scaled by: to key a cache."""
        return {"mean": self.mean.flatten().tolist(), "std": self.std.flatten().tolist()}

"""Standardising an encoder's features: what lets a projection of them learn as fast as a table of ids."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Standardising(nn.Module):
    """A fixed shift and scale of features, after which they have zero mean and unit deviation over a catalogue.

    Features of a pretrained encoder lie in a narrow cone: they share a large mean, along which every step of the
    optimiser moves all items together. Behind this map they are centred. The scale is one number, so that loud
    directions, which mean more than faint ones, stay loud: whitening them instead memorises faster and ranks worse. The
    map is fitted once, before training, and is a constant from then on, through which gradients reach the encoder.

    Args:
        n_features: F.
    """

    center: Tensor
    deviation: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(n_features))
        self.register_buffer("deviation", torch.ones(()))

    @torch.no_grad()
    def fit(self, blocks: Iterable[Tensor]) -> None:
        """Sets the map to that of all features; features that are all alike keep their scale.

        Mean and squared deviations are summed up block by block, in float64 (Chan et al., 1979): features of a whole
        catalogue need not be held at once.

        Args:
            blocks: features of some items each, (n, F).
        """
        n_items = 0
        center = torch.zeros_like(self.center, dtype=torch.float64)
        squares = center.new_zeros(())
        for block in blocks:
            features = block.double()
            n_items += len(features)
            mean = features.mean(0)
            moved = mean - center
            squares += (features - mean).square().sum()
            squares += moved.square().sum() * (len(features) * (n_items - len(features)) / n_items)
            center += moved * (len(features) / n_items)
        deviation = (squares / (n_items * len(center))).sqrt()
        self.center.copy_(center)
        self.deviation.copy_(deviation if deviation > 0 else torch.ones(()))

    def forward(self, features: Tensor) -> Tensor:
        """Shape (U, F) to (U, F), in float32: autocast would round away small differences of large numbers."""
        with torch.autocast(features.device.type, enabled=False):
            return (features.float() - self.center) / self.deviation

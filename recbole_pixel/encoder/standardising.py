"""Standardising an encoder's features: what lets a projection of them learn as fast as a table of ids."""

from __future__ import annotations

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
    def fit(self, features: Tensor) -> None:
        """Sets the map to that of ``features`` (N, F); features that are all alike keep their scale."""
        features = features.double()
        self.center.copy_(features.mean(0))
        deviation = features.var(0, correction=0).mean().sqrt()
        self.deviation.copy_(deviation if deviation > 0 else torch.ones(()))

    def forward(self, features: Tensor) -> Tensor:
        """Shape (U, F) to (U, F), in float32: autocast would round away small differences of large numbers."""
        with torch.autocast(features.device.type, enabled=False):
            return (features.float() - self.center) / self.deviation

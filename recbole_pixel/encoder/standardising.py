"""Standardising an encoder's features: what lets a projection of them learn as fast as a table of ids."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from recbole_pixel.distributed import gather_on_host


class Standardising(nn.Module):
    """A fixed shift and scale of features, after which they have zero mean and unit deviation over a catalogue.

    Features of a pretrained encoder lie in a narrow cone: they share a large mean, along which every step of the
    optimiser moves all items together. Behind this map they are centred. The scale is one number, so that loud
    directions, which mean more than faint ones, stay loud: whitening them instead memorises faster and ranks worse. The
    map is fitted once, before training, and is a constant from then on, through which gradients reach the encoder.

    In training, noise may be added behind it: what only faint directions tell, which name an item and not its kind, is
    drowned, and a projection learns what holds for items it never saw. Its size is a share of the features' whole
    length, so that an encoder of many features has no more directions to name items by than one of few.

    Args:
        n_features: F.
        noise: its deviation in each direction, as a share of the length that standardised features have on average.
    """

    center: Tensor
    deviation: Tensor
    draws = True  # the noise, step by step; else whoever trains reckons with what it does on average
    is_given = False  # by another run, whose projection was taught behind it

    def __init__(self, n_features: int, noise: float = 0.0) -> None:
        super().__init__()
        if noise < 0:
            raise ValueError(f"feature_noise is {noise}; expected 0 or more")
        self.noise = noise
        self.register_buffer("center", torch.zeros(n_features))
        self.register_buffer("deviation", torch.ones(()))

    @torch.no_grad()
    def fit(self, blocks: Iterable[Tensor]) -> None:
        """Sets the map to that of all features; features that are all alike keep their scale.

        Where several ranks train, each gives the features of a share of the items. A map that was given stays.

        Args:
            blocks: features of some items each, (n, F).
        """
        if self.is_given:
            return
        own = _moments(map(_moments_of_block, blocks), len(self.center))
        moments = _moments(gather_on_host(own[None]), len(self.center))
        deviation = (moments[1] / (moments[0] * len(self.center))).sqrt()
        self.center.copy_(moments[2:])
        self.deviation.copy_(deviation if deviation > 0 else torch.ones(()))

    def forward(self, features: Tensor) -> Tensor:
        """Shape (U, F) to (U, F), in float32: autocast would round away small differences of large numbers."""
        with torch.autocast(features.device.type, enabled=False):
            standardised = (features.float() - self.center) / self.deviation
            if not (self.training and self.noise and self.draws):
                return standardised
            return standardised + torch.randn_like(standardised) * (self.noise * len(self.center) ** 0.5)


def _moments_of_block(features: Tensor) -> Tensor:
    """Number, squared deviations and mean of ``features`` (n, F): float64 (2 + F,), on the CPU."""
    block = features.double()
    mean = block.mean(0)
    squares = (block - mean).square().sum()
    return torch.cat([torch.tensor([float(len(block)), squares.item()], dtype=torch.float64), mean.cpu()])


def _moments(parts: Iterable[Tensor], n_features: int) -> Tensor:
    """The moments of all features from those of their parts, (2 + F,) each.

    They are summed up in float64 (Chan et al., 1979): features of a whole catalogue need not be held at once.
    """
    n_items, squares, center = 0.0, 0.0, torch.zeros(n_features, dtype=torch.float64)
    for part in parts:
        n_more, squares_more, moved = part[0].item(), part[1].item(), part[2:] - center
        if not n_more:  # of a rank whose items have none of these features
            continue
        n_items += n_more
        squares += squares_more + moved.square().sum().item() * (n_more * (n_items - n_more) / n_items)
        center += moved * (n_more / n_items)
    return torch.cat([torch.tensor([n_items, squares], dtype=torch.float64), center])

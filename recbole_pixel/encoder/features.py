"""An encoder for items that already are vectors."""

from __future__ import annotations

from torch import Tensor, nn


class FeatureEncoder(nn.Module):
    """Passes stored features on; ``n_features`` wide, with nothing to learn."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = n_features

    def head(self, features: Tensor) -> Tensor:
        """Features as they are, shape (U, F), in float32: stores may hold float16, which no layer of ours has."""
        return features.float()

    forward = head

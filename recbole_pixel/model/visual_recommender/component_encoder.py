"""An encoder for items that are a handful of vectors each, such as the regions of a picture."""

from __future__ import annotations

from torch import Tensor, nn


class ComponentEncoder(nn.Module):
    """One linear map of every component.

    Args:
        n_components: P, of an item.
        n_features: C, of a component.
        size: what a component is mapped to.
    """

    def __init__(self, n_components: int, n_features: int, size: int) -> None:
        super().__init__()
        self.projection = nn.Linear(n_features, size, bias=False)
        nn.init.xavier_normal_(self.projection.weight)
        self.n_features = n_components * size  # as the tower counts them

    def head(self, components: Tensor) -> Tensor:
        """Stored components (U, P, C) to (U, P * size)."""
        return self.projection(components.float()).flatten(1)

    forward = head

"""From the vectors of what an item is made of, its picture and its text, to one vector of the item.

Each part comes standardised and projected by itself. The item's vectors start with about the deviation of the parts'.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SumFusion(nn.Module):
    """The sum of the parts' vectors, each times a learnt number.

    Each part ranks on its own: what one of them knows of an item, the others need not unlearn.

    Args:
        n_parts: M.
        size: D.
        scale: deviation of each dimension of the parts' vectors at the start.
    """

    def __init__(self, n_parts: int, size: int, scale: float) -> None:
        super().__init__()
        self.scales = nn.Parameter(torch.full((n_parts,), n_parts**-0.5))

    def forward(self, vectors: Tensor) -> Tensor:
        """Shape (U, M, D) to (U, D)."""
        return (vectors * self.scales[:, None]).sum(1)


class ConcatFusion(nn.Module):
    """A network of one hidden layer over the parts' vectors side by side; see :class:`SumFusion` for its arguments."""

    def __init__(self, n_parts: int, size: int, scale: float) -> None:
        super().__init__()
        wide = n_parts * size
        self.norm, self.hidden, self.act, self.out = (
            nn.LayerNorm(wide),
            nn.Linear(wide, wide),
            nn.GELU(),
            nn.Linear(wide, size),
        )
        nn.init.normal_(self.hidden.weight, std=wide**-0.5)
        nn.init.normal_(self.out.weight, std=1.5 * scale * wide**-0.5)  # 1.5: what GELU takes of a deviation of 1
        nn.init.zeros_(self.hidden.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, vectors: Tensor) -> Tensor:
        """Shape (U, M, D) to (U, D)."""
        return self.out(self.act(self.hidden(self.norm(vectors.flatten(1)))))


class GatedFusion(nn.Module):
    """The parts' vectors, weighted in each dimension by what all of them say; see :class:`SumFusion`."""

    def __init__(self, n_parts: int, size: int, scale: float) -> None:
        super().__init__()
        wide = n_parts * size
        self.norm, self.gate = nn.LayerNorm(wide), nn.Linear(wide, wide)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, vectors: Tensor) -> Tensor:
        """Shape (U, M, D) to (U, D)."""
        n_parts = vectors.shape[1]
        weights = self.gate(self.norm(vectors.flatten(1))).view(vectors.shape).softmax(1)
        return (vectors * weights).sum(1) * n_parts**0.5


class AttentionFusion(nn.Module):
    """The parts' vectors, each weighted by how it answers a learnt query; see :class:`SumFusion`."""

    def __init__(self, n_parts: int, size: int, scale: float) -> None:
        super().__init__()
        self.norm, self.query = nn.LayerNorm(size), nn.Parameter(torch.zeros(size))

    def forward(self, vectors: Tensor) -> Tensor:
        """Shape (U, M, D) to (U, D)."""
        n_parts, size = vectors.shape[1:]
        weights = ((self.norm(vectors) * self.query).sum(-1) / size**0.5).softmax(1)
        return (vectors * weights[..., None]).sum(1) * n_parts**0.5


FUSIONS: dict[str, type[nn.Module]] = {
    "sum": SumFusion,
    "concat": ConcatFusion,
    "gated": GatedFusion,
    "attention": AttentionFusion,
}
"""Values of ``fusion``."""


def make_fusion(name: str, n_parts: int, size: int, scale: float) -> nn.Module:
    """The fusion called ``name``; of one part there is nothing to fuse.

    Raises:
        ValueError: none is called so.
    """
    if name not in FUSIONS:
        raise ValueError(f"fusion is {name!r}; expected one of {', '.join(FUSIONS)}")
    return FUSIONS[name](n_parts, size, scale) if n_parts > 1 else OnlyPart()


class OnlyPart(nn.Module):
    """The vector of the one part that there is."""

    def forward(self, vectors: Tensor) -> Tensor:
        """Shape (U, 1, D) to (U, D)."""
        return vectors[:, 0]

"""Vectors of items that were trained on, learnt for each, and predicted from what the items are.

Gantner et al.: "Learning Attribute-to-Feature Mappings for Cold-Start Recommendations", ICDM 2010; van den Oord et al.:
"Deep Content-Based Music Recommendation", NeurIPS 2013. Here one training learns vectors and their prediction.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from recbole_pixel.encoder.standardising import Standardising

FEW = 10
"""Interactions at which an item's vector counts half in what content learns: vectors of fewer are mostly noise."""


class OwnVectors(nn.Module):
    """A table beside a tower's content: an item that was trained on is ranked by its row, others by their content.

    Content learns nothing from the ranking, which would teach it to name the items it sees; it learns to predict their
    rows, which stand still for it. Rows of items that were not trained on are zero, and are never read.

    Args:
        rows: how the vectors start, (N, D).
    """

    counts: Tensor
    is_known = False  # whether anybody said so far which items are trained on: a step needs to know

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.table = nn.Embedding(len(rows), rows.shape[1], _weight=rows.detach().clone())
        self.register_buffer("counts", torch.zeros(len(rows)))
        self.error: Tensor | None = None

    @torch.no_grad()
    def take_counts(self, counts: Tensor) -> None:
        """Says which items are trained on: ``counts``, (N,), how often each is in the training rows."""
        self.counts.copy_(counts)
        self.is_known = True
        self.table.weight[self.counts == 0] = 0

    def forward(self, ids: Tensor, content: Tensor) -> Tensor:
        """Vectors of the items ``ids`` (U,), whose ``content`` is (U, D); in training, notes how far that is off."""
        if self.training and not self.is_known:
            return content
        own, counts = self.table(ids), self.counts[ids]
        if self.training:
            weight = counts / (counts + FEW)
            apart = (own.detach() - content).float().square().sum(1)
            self.error = torch.stack([(weight * apart).sum(), weight.sum()])
        return torch.where(counts[:, None] > 0, own, content.detach())

    def take_error(self) -> Tensor | None:
        """How far the step's content is from the vectors it is to predict, once; None outside of a step.

        Returns:
            Weighted squared distances, summed over the step's items, and the sum of their weights: (2,).
        """
        error, self.error = self.error, None
        return error


def _behind_noise(tower: nn.Module) -> Iterator[tuple[Standardising, nn.Linear]]:
    """Where features are standardised, and projected by one layer."""
    for module in tower.modules():
        scale, projection = getattr(module, "standardising", None), getattr(module, "projection", None)
        if isinstance(scale, Standardising) and isinstance(projection, nn.Linear):
            yield scale, projection


def expected_noise(tower: nn.Module) -> Tensor | float:
    """What the noise on features adds to the squared error of vectors that are linear in them, on average.

    Drawn, it would have to be averaged away by thousands of steps; this is where they would lead, in as few as without.
    """
    total: Tensor | float = 0.0
    for scale, projection in _behind_noise(tower):
        total = total + scale.noise**2 * projection.in_features * projection.weight.square().sum()
    return total


def expect_noise(tower: nn.Module) -> None:
    """Draws no noise in ``tower`` from now on where :func:`expected_noise` is added to the loss in its place."""
    for scale, _ in _behind_noise(tower):
        scale.draws = False

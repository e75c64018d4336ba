"""The table of item vectors that a validation ranked by: whether items differ in it, and whether its columns do."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from recbole_pixel.health.notes import Notes

SAMPLE = 512
"""Items that are compared, evenly spread over the catalogue."""

FEWEST = 8
"""Items below which a catalogue is too small to say anything of."""

ALIKE = 1e-4
"""Variance of the vectors, as a share of their mean squared length, below which items count as all alike: they differ
by a hundredth of their length, and cosines are 0.9999. Features of untrained encoders reach 0.99."""

ONE_LINE = 1.01
"""Effective dimensions, below which all items lie on one line: every user's ranking is one order, or its reverse. Of
items that differ in one thing only this is right: it is said of runs that rank no better than chance or popularity."""

DEAD = 0.5
"""Share of dimensions that are zero for every item."""


class TableShape(NamedTuple):
    """What a sample of item vectors looks like.

    Attributes:
        spread: variance of the vectors, as a share of their mean squared length, from 0 (all alike) to 1.
        cosine: mean cosine of two items.
        dimensions: effective number of them, ``(sum of eigenvalues)^2 / sum of their squares`` of the covariance.
        dead: share of dimensions that are zero for every item.
    """

    spread: float
    cosine: float
    dimensions: float
    dead: float


@torch.no_grad()
def table_shape(table: Tensor) -> TableShape | None:
    """The shape of a table of item vectors, (N, D), row 0 the padding's; None if there are too few, or not finite."""
    if len(table) - 1 < FEWEST:
        return None
    vectors = table[1 :: -(-(len(table) - 1) // SAMPLE)].detach().float()
    if not torch.isfinite(vectors).all():
        return None
    center = vectors.mean(0)
    moved = vectors - center
    squares, variance = vectors.square().sum(1).mean(), moved.square().sum(1).mean()
    of_length_1 = torch.nn.functional.normalize(vectors, dim=1)
    n_items = len(vectors)
    cosine = (of_length_1.sum(0).square().sum() - n_items) / (n_items * (n_items - 1))
    gram = moved @ moved.T if n_items < moved.shape[1] else moved.T @ moved
    dimensions = gram.diagonal().sum().square() / gram.square().sum().clamp(min=1e-30)
    dead = (vectors == 0).all(0).float().mean()
    found = torch.stack([variance / squares.clamp(min=1e-30), cosine, dimensions, dead]).tolist()
    return TableShape(*found)


class Vectors:
    """What validations show of the table.

    Args:
        notes: where to tell.
    """

    def __init__(self, notes: Notes) -> None:
        self.notes, self.n_collapsed, self.n_dead = notes, 0, 0

    def look(self, table: Tensor, ranks: bool) -> None:
        """Looks at a table; tells what two validations in a row show: the first epoch may pass through it.

        Args:
            table: (N, D).
            ranks: whether the run is known to rank better than chance or popularity, or nothing is known of that.
        """
        shape = table_shape(table)
        if shape is None:
            return
        lies_on_a_line = shape.dimensions < ONE_LINE and table.shape[1] > 1 and not ranks
        self.n_collapsed = self.n_collapsed + 1 if shape.spread < ALIKE or lies_on_a_line else 0
        self.n_dead = self.n_dead + 1 if shape.dead >= DEAD else 0
        if self.n_collapsed >= 2:
            self._tell_collapsed(shape)
        elif self.n_dead >= 2:
            self.notes.tell(
                "dead_units",
                f"{100 * shape.dead:.0f}% of the dimensions of the item vectors are zero for every item: units that "
                f"died. Lower encoder_learning_rate, or set projection_activation: none (or gelu)",
            )

    def _tell_collapsed(self, shape: TableShape) -> None:
        found = f"all item vectors lie on one line ({shape.dimensions:.3f} effective dimensions), which knows one order"
        if shape.spread < ALIKE:
            differ = 100 * shape.spread**0.5
            found = f"all items are alike: their vectors have a mean cosine of {shape.cosine:.5f}, and differ by "
            found += f"{differ:.1g}% of their length"
        self.notes.tell(
            "vectors_collapsed",
            f"{found}. Set standardise_features: True, lower encoder_learning_rate, take loss_type: CE, and see that "
            f"pictures differ (`recbole-pixel images show`)",
        )

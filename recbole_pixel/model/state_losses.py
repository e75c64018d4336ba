"""Losses of states whose product with an item's vector is its score: at each position of a row, or one for each row."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recbole_pixel.catalogue import StepCatalogue
from recbole_pixel.collisions import Collisions, RowCollisions
from recbole_pixel.data.loader import CATALOGUE_NEGATIVE, CATALOGUE_TARGET
from recbole_pixel.objective import SharedNegativeLoss
from recbole_pixel.pending_scores import PendingScores


class StateLosses:
    """The part of ``PixelMixin`` that computes losses itself, without the RecBole class behind it."""

    item_tower: Any
    loss_fct: nn.Module
    pixel_loss_type: str
    _all_positions = False

    ITEM_SEQ: str
    ITEM_SEQ_LEN: str
    ITEM_ID: str
    POS_ITEM_ID: str
    NEG_ITEM_ID: str

    def _collisions(self, catalogue: StepCatalogue, interaction: Any) -> Collisions:
        """Candidates that stand in a target's own row."""
        return RowCollisions.among(catalogue.ids, *self._rows_of_targets(interaction))

    def _rows_of_targets(self, interaction: Any) -> tuple[Tensor, Tensor]:
        """The items of each row, its targets among them, (B, W), and the row of each target, (T,)."""
        targets, inputs = interaction[self.POS_ITEM_ID], interaction[self.ITEM_SEQ]
        if targets.dim() == 1:
            row = torch.arange(len(inputs), device=inputs.device)
            return torch.cat([inputs, targets[:, None]], dim=1), row
        return torch.cat([inputs, targets], dim=1), self._places(interaction) // targets.shape[1]

    def _places(self, interaction: Any) -> Tensor:
        """Places of the targets in the flattened rows, (T,): the loader's; to count them here waits for the device."""
        if CATALOGUE_TARGET in interaction:
            return interaction[CATALOGUE_TARGET]
        return interaction[self.POS_ITEM_ID].flatten().nonzero()[:, 0]

    def _sequence_loss(self, interaction: Any) -> Tensor:
        """The loss at every position of every row, averaged over positions.

        ``interaction`` carries inputs, targets and negatives of shape (B, L), padded with 0.
        """
        places = self._places(interaction)
        states = self.sequence_output(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        targets = interaction[self.POS_ITEM_ID].flatten()[places]
        return self._state_loss(states.flatten(0, 1).index_select(0, places), targets, places, interaction)

    def _state_loss(self, states: Tensor, targets: Tensor, places: Tensor | None, interaction: Any) -> Tensor:
        """The loss of states, (T, D), whose product with an item's vector is its score; ``targets`` are ids, (T,)."""
        if self.pixel_loss_type == "CE":
            return self.loss_fct(PendingScores(states, self.ranked(self.item_tower.candidates())), targets)
        positive = self._score(states, targets)
        if CATALOGUE_NEGATIVE in interaction:
            negatives = interaction[CATALOGUE_NEGATIVE]
            loss = SharedNegativeLoss(self.pixel_loss_type, self._negative_collisions(negatives, interaction))
            return loss(states, positive, self.ranked(self.item_tower(negatives)))
        negatives = interaction[self.NEG_ITEM_ID]
        drawn = negatives if places is None else negatives.flatten()[places]
        return self.loss_fct(positive, self._score(states, drawn))

    def _negative_collisions(self, negatives: Tensor, interaction: Any) -> Collisions:
        """Shared negatives, sorted ids (K,), that stand in a target's own row."""
        return RowCollisions.among(negatives, *self._rows_of_targets(interaction))

    def row_output(self, interaction: Any) -> Tensor:
        """Vectors of rows with one target, (B, D), whose product with an item's vector is the score."""
        return self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])  # type: ignore[attr-defined]

    def _score(self, states: Tensor, ids: Tensor) -> Tensor:
        return (states * self.ranked(self.item_tower(ids))).sum(-1)

    def ranked(self, vectors: Tensor) -> Tensor:
        """What states are multiplied with, from the tower's ``vectors`` (..., D); these, unless a model says more."""
        return vectors

    def extra_loss(self) -> Tensor | float:
        """What the parent adds to the loss of its rows, for ``sequence`` rows; 0 unless a model says more."""
        return 0.0

    def sequence_output(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """Hidden states at all positions: item ids (B, L) to (B, L, D).

        The parent's ``forward`` picks the last real position by ``gather_indexes``; here it is told not to.
        """
        self._all_positions = True
        try:
            return self.forward(item_seq, item_seq_len)  # type: ignore[attr-defined]
        finally:
            self._all_positions = False

    def gather_indexes(self, output: Tensor, gather_index: Tensor) -> Tensor:
        """RecBole's, or ``output`` (B, L, D) whole while :meth:`sequence_output` runs."""
        if self._all_positions:
            return output
        return super().gather_indexes(output, gather_index)  # type: ignore[misc]

"""The catalogue of one training step, and the cross entropy over it.

During a step the catalogue shrinks to the items that the batch needs. Ids stay RecBole's everywhere; a *position* is an
index into the rows of :class:`StepCatalogue` and never leaves this module.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class StepCatalogue:
    """The vectors of a step's items, found by id.

    Args:
        ids: sorted distinct item ids of the step, shape (U,); the first is 0, the padding.
        vectors: shape (U, D); row 0 is the padding's.
        log_q: logarithm of the chance that an item is in a step's catalogue, shape (U,), or None where every item is.
        is_candidate: which rows may be ranked, bool of shape (U,), or None for all.
    """

    def __init__(
        self, ids: Tensor, vectors: Tensor, log_q: Tensor | None = None, is_candidate: Tensor | None = None
    ) -> None:
        self.ids, self.vectors, self.log_q, self.is_candidate = ids, vectors, log_q, is_candidate

    def positions(self, ids: Tensor) -> Tensor:
        """Positions of ``ids``, any shape.

        Raises:
            LookupError: an id is not in this catalogue (on an accelerator, a device-side assertion).
        """
        positions = torch.searchsorted(self.ids, ids.contiguous()).clamp_(max=len(self.ids) - 1)
        found = (self.ids[positions] == ids).all()
        if ids.is_cuda:
            torch._assert_async(found)
        elif not found:
            missing = ids[self.ids[positions] != ids].unique().tolist()
            raise LookupError(f"items {missing[:5]} are not among the {len(self.ids) - 1} of this step's catalogue")
        return positions

    def lookup(self, ids: Tensor) -> Tensor:
        """Vectors of ``ids``: any shape (...) to (..., D)."""
        return F.embedding(self.positions(ids), self.vectors)


class CatalogueCrossEntropy(nn.Module):
    """Cross entropy of the target against the items of the step's catalogue.

    Called as RecBole calls ``nn.CrossEntropyLoss``: logits over the rows of ``item_embedding.weight``, targets as item
    ids. Where the catalogue is a sample, logits are corrected by ``log q`` (Bengio and Senécal, 2008; Yi et al., RecSys
    2019): without it, an item is pushed down in proportion to how often it comes along. With the whole catalogue it is
    RecBole's loss.

    Args:
        correct_log_q: subtract ``log q`` from the logits.
    """

    def __init__(self, correct_log_q: bool = True) -> None:
        super().__init__()
        self.correct_log_q = correct_log_q
        self.catalogue: StepCatalogue | None = None
        self.collisions: Tensor | None = None

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean loss.

        Args:
            logits: shape (T, U), one column per row of the catalogue; or (T, N), one per item, of which the step's are
                taken: those of a whole table, such as the ID twin's.
            targets: item ids, shape (T,).
        """
        catalogue = self.catalogue
        if catalogue is None:
            return F.cross_entropy(logits, targets)
        positions = catalogue.positions(targets)
        if logits.shape[1] != len(catalogue.ids):
            logits = logits[:, catalogue.ids]
        if self.correct_log_q and catalogue.log_q is not None:
            logits = logits - catalogue.log_q
        if catalogue.is_candidate is not None:
            logits = logits.masked_fill(~catalogue.is_candidate, -torch.inf)
        if self.collisions is not None:
            own = F.one_hot(positions, logits.shape[1]).bool()
            logits = logits.masked_fill(self.collisions & ~own, -torch.inf)
        return F.cross_entropy(logits, positions)


class PairwiseCrossEntropy(nn.Module):
    """Binary cross entropy of a positive and a negative score, SASRec's loss as published (Kang and McAuley, 2018)."""

    def forward(self, positive: Tensor, negative: Tensor) -> Tensor:
        """The mean over pairs of ``-log sigmoid(positive) - log(1 - sigmoid(negative))``; both of shape (T,)."""
        return (F.softplus(-positive) + F.softplus(negative)).mean()


def history_collisions(catalogue: StepCatalogue, item_rows: Tensor, row_of_target: Tensor) -> Tensor:
    """Which candidates stand in the row that a target comes from.

    Args:
        catalogue: the step's.
        item_rows: item ids of each user's row, padded with 0, shape (B, L).
        row_of_target: the row of each target, shape (T,).

    Returns:
        bool, shape (T, U).
    """
    positions = catalogue.positions(item_rows)
    mask = torch.zeros(item_rows.shape[0], len(catalogue.ids), dtype=torch.bool, device=item_rows.device)
    mask.scatter_(1, positions, True)
    mask[:, 0] = False
    return mask[row_of_target]

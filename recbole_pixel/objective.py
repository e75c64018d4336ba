"""The losses of a training step, over its catalogue or over negatives."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_pixel.catalogue import StepCatalogue
from recbole_pixel.collisions import Collisions
from recbole_pixel.pending_scores import PendingScores
from recbole_pixel.score_chunks import SCORES_AT_ONCE, fits_at_once, loss_in_chunks


class CatalogueCrossEntropy(nn.Module):
    """Cross entropy of the target against the items of the step's catalogue.

    Called as RecBole calls ``nn.CrossEntropyLoss``: logits over the rows of ``item_embedding.weight``, targets as item
    ids. Where the catalogue is a sample, logits are corrected by ``log q`` (Bengio and Senécal, 2008; Yi et al., RecSys
    2019): without it, an item is pushed down in proportion to how often it comes along. With the whole catalogue it is
    RecBole's loss. Logits that are pending, and too many to exist at once, are computed some rows at a time.

    Args:
        correct_log_q: subtract ``log q`` from the logits.
        limit: bytes of logits, in float32, that may exist at once.
    """

    def __init__(self, correct_log_q: bool = True, limit: int = SCORES_AT_ONCE) -> None:
        super().__init__()
        self.correct_log_q, self.limit = correct_log_q, limit
        self.catalogue: StepCatalogue | None = None
        self.collisions: Collisions | None = None

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean loss.

        Args:
            logits: shape (T, U), one column per row of the catalogue; or (T, N), one per item, of which the step's are
                taken: those of a whole table, such as the ID twin's.
            targets: item ids, shape (T,).
        """
        positions = targets if self.catalogue is None else self.catalogue.positions(targets)
        if isinstance(logits, PendingScores) and logits.product is not None:
            logits = logits.product
        if isinstance(logits, PendingScores):
            table = logits.table if self._is_in_step(logits) else F.embedding(self.catalogue.ids, logits.table)  # type: ignore[union-attr]
            if not fits_at_once(len(logits.states), len(table), self.limit):
                return self._in_chunks(logits.states, table, positions)
            logits = logits.states @ table.T
        elif not self._is_in_step(logits):
            logits = logits[:, self.catalogue.ids]  # type: ignore[union-attr]
        bias = self._bias()
        if bias is not None:
            logits = logits + bias
        if self.collisions is not None:
            logits = self.collisions.exclude_(logits.clone() if bias is None else logits, 0, positions)
        return F.cross_entropy(logits, positions)

    def _is_in_step(self, logits: Tensor) -> bool:
        return self.catalogue is None or logits.shape[1] == len(self.catalogue.ids)

    def _bias(self) -> Tensor | None:
        """What is added to the logits of each candidate, (U,): ``-log q``, and -inf for those that are none."""
        catalogue = self.catalogue
        if catalogue is None:
            return None
        bias = -catalogue.log_q if self.correct_log_q and catalogue.log_q is not None else None
        if catalogue.is_candidate is None:
            return bias
        if bias is None:
            bias = torch.zeros_like(catalogue.is_candidate, dtype=torch.float32)
        return bias.masked_fill(~catalogue.is_candidate, -torch.inf)

    def _in_chunks(self, states: Tensor, table: Tensor, positions: Tensor) -> Tensor:
        bias = self._bias()

        def formula(scores: Tensor, first: int) -> tuple[Tensor, Tensor]:
            """The sum of losses of the targets from ``first`` on, and its gradient, made of ``scores`` (t, U)."""
            own = positions[first : first + len(scores)]
            if bias is not None:
                scores.add_(bias)
            if self.collisions is not None:
                self.collisions.exclude_(scores, first, own)
            log_share = F.log_softmax(scores, dim=1)
            loss = -log_share.gather(1, own[:, None]).sum()
            return loss, log_share.exp_().scatter_add_(1, own[:, None], -torch.ones_like(log_share[:, :1]))

        return loss_in_chunks(states, table, formula, limit=self.limit) / len(states)


class PairwiseCrossEntropy(nn.Module):
    """Binary cross entropy of a positive and a negative score, SASRec's loss as published (Kang and McAuley, 2018)."""

    def forward(self, positive: Tensor, negative: Tensor) -> Tensor:
        """The mean over pairs of ``-log sigmoid(positive) - log(1 - sigmoid(negative))``; both of shape (T,)."""
        return (F.softplus(-positive) + F.softplus(negative)).mean()


class SharedNegativeLoss:
    """BPR or BCE of each target against the same negatives, drawn once for a step.

    A target's loss is the mean of those against each negative but the ones that collide; since negatives are drawn
    uniformly, its expectation is that of one negative for each target, and there is no chance to correct for (as Hidasi
    and Karatzoglou share samples in a mini-batch, CIKM 2018).

    Args:
        kind: ``BPR`` or ``BCE``.
        collisions: negatives that stand in the row of a target; of pairs, those that its user consumed.
        limit: bytes of scores, in float32, that may exist at once.
    """

    def __init__(self, kind: str, collisions: Collisions, limit: int = SCORES_AT_ONCE) -> None:
        self.kind, self.collisions, self.limit = kind, collisions, limit

    def __call__(self, states: Tensor, positive: Tensor, negatives: Tensor) -> Tensor:
        """The mean over targets.

        Args:
            states: (T, D).
            positive: scores of the targets, (T,).
            negatives: vectors, (K, D).
        """
        positive = positive.float()
        if self.kind == "BPR":
            total = loss_in_chunks(states, negatives, self._formula, -positive, self.limit)
        else:
            total = loss_in_chunks(states, negatives, self._formula, limit=self.limit) + F.softplus(-positive).sum()
        return total / len(states)

    def _formula(self, scores: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """The sum over targets of the mean of ``softplus(score)``, and its gradient."""
        self.collisions.exclude_(scores, first)
        n_negatives = (scores > -torch.inf).sum(1, keepdim=True).clamp_(min=1)
        loss = (F.softplus(scores).sum(1, keepdim=True) / n_negatives).sum()
        return loss, scores.sigmoid_().div_(n_negatives)

"""PixRec's three losses: the next item's text, and two contrasts of vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from recbole_pixel.distributed import gather_on_host, rank, sum_with_gradient, world_size
from recbole_pixel.encoder.prompts import NO_LABEL
from recbole_pixel.score_chunks import SCORES_AT_ONCE


class LossWeights(NamedTuple):
    """``nig`` NIG + ``tt`` TT + ``ut`` UT.

    NIG, next-item generation, is the cross entropy of the target's text behind the history; TT (item to item) contrasts
    the target as it is read behind the history with targets read alone, UT (user to item) the history with these.
    """

    nig: float
    tt: float
    ut: float

    @property
    def contrasts(self) -> bool:
        """Whether vectors are contrasted at all."""
        return self.tt > 0 or self.ut > 0

    @classmethod
    def of(cls, tt: float, ut: float, batch_size: int, has_text: bool) -> LossWeights:
        """The weights of a run.

        Args:
            tt: a of the paper.
            ut: b of the paper.
            batch_size: rows per step.
            has_text: whether items have a text to generate.

        Raises:
            ValueError: a weight is negative, or the loss it stands before would be zero whatever the model does.
        """
        if tt < 0 or ut < 0 or tt + ut > 1 + 1e-9:
            raise ValueError(
                f"tt_weight is {tt} and ut_weight {ut}; expected 0 or more each, and 1 at most together: a negative "
                f"weight would push users away from what they bought next"
            )
        weights = cls(max(0.0, round(1 - tt - ut, 12)), tt, ut)
        if weights.contrasts and batch_size < 2:
            raise ValueError(
                f"train_batch_size is {batch_size}, with tt_weight {tt} and ut_weight {ut}: a target is contrasted "
                f"with the others of its batch, and alone its loss is zero. Take a larger train_batch_size, of which "
                f"gradient_cache_chunk rows at a time need memory, or set both weights to 0"
            )
        if weights.nig and not has_text:
            raise ValueError(
                f"modalities has no text, of which next-item generation is the loss, and its weight is 1 - tt_weight - "
                f"ut_weight = {weights.nig:.4g}: let the two add up to 1"
            )
        return weights


def next_item_loss(logits: Callable[[Tensor], Tensor], hidden: Tensor, labels: Tensor, vocabulary: int) -> Tensor:
    """The sum of the cross entropies of labelled places; the scores of some places exist at a time.

    Args:
        logits: scores of the next token: (n, H) to (n, vocabulary).
        hidden: last hidden states, (B, T, H).
        labels: what is to be said behind each, (B, T), or ``NO_LABEL``.
        vocabulary: its size.
    """
    is_labelled = labels != NO_LABEL
    chosen, wanted = hidden[is_labelled], labels[is_labelled]
    at_once = max(1, SCORES_AT_ONCE // (4 * vocabulary))

    def part(states: Tensor, own: Tensor) -> Tensor:
        return F.cross_entropy(logits(states).float(), own, reduction="sum")

    total = chosen.new_zeros((), dtype=torch.float32)
    for states, own in zip(chosen.split(at_once), wanted.split(at_once), strict=True):
        if torch.is_grad_enabled() and len(chosen) > at_once:
            total = total + checkpoint(part, states, own, use_reentrant=False)
        else:
            total = total + part(states, own)
    return total


def info_nce(queries: Tensor, candidates: Tensor, own: Tensor, excluded: Tensor, temperature: float) -> Tensor:
    """InfoNCE of each query, by cosine: (B,).

    Args:
        queries: (B, D).
        candidates: (C, D).
        own: which candidate is the query's, (B,).
        excluded: candidates that a query is not contrasted with, its own never among them, bool (B, C).
        temperature: cosines are divided by it.
    """
    cosines = F.normalize(queries.float(), dim=-1) @ F.normalize(candidates.float(), dim=-1).T
    return F.cross_entropy((cosines / temperature).masked_fill(excluded, -torch.inf), own, reduction="none")


class Contrast:
    """Which targets of a step, those of all ranks, a row's target is told from: the rows of one batch, B of C.

    Args:
        histories: item ids of each of this rank's rows.
        targets: item ids of this rank's rows, (B,).
        n_rows: rows of all ranks, of which every W-th is this rank's.

    Attributes:
        own: the place of each row's target among all, (B,).
        excluded: the same item, or one of the row's history, bool (B, C).
    """

    def __init__(self, histories: Sequence[np.ndarray], targets: np.ndarray, n_rows: int) -> None:
        sizes = [len(range(of_rank, n_rows, world_size())) for of_rank in range(world_size())]
        starts = np.cumsum([0, *(max(1, size) for size in sizes)])
        self.n_candidates, self.own = int(starts[-1]), starts[rank()] + np.arange(len(targets))
        every = gather_on_host(torch.from_numpy(targets)).numpy()
        consumed = [np.append(history, target) for history, target in zip(histories, targets, strict=True)]
        self.excluded = np.stack([np.isin(every, items) for items in consumed])
        # a rank without rows of its own repeats the first one, which counts for nobody
        self.excluded[:, [start for start, size in zip(starts, sizes, strict=False) if not size]] = True
        self.excluded[np.arange(len(targets)), self.own] = False

    def check(self) -> None:
        """Refuses a batch in which no row has anything to be contrasted with.

        Raises:
            ValueError: both contrasts are zero whatever the model does.
        """
        if (self.excluded.sum(1) == self.excluded.shape[1] - 1).all():
            raise ValueError(
                f"none of the {len(self.excluded)} rows of this batch has another row's target to be contrasted with: "
                f"all are the same item, or in the row's history, so tt and ut are zero; raise train_batch_size, or "
                f"set tt_weight and ut_weight to 0"
            )

    def gathered(self, vectors: Tensor) -> Tensor:
        """The vectors (C, D) of all ranks' targets, with gradient, from this rank's, (B, D)."""
        if world_size() == 1:
            return vectors
        places = torch.from_numpy(self.own).to(vectors.device)
        placed = vectors.new_zeros(self.n_candidates, vectors.shape[1], dtype=torch.float32)
        return sum_with_gradient(placed.index_put((places,), vectors.float()))

    def losses(self, users: Tensor, read: Tensor, alone: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """TT and UT, each the mean over this rank's rows.

        Args:
            users: vectors of histories, (B, D).
            read: of targets behind them, (B, D).
            alone: of targets alone, (B, D).
            temperature: see :func:`info_nce`.
        """
        candidates = self.gathered(alone)
        own, excluded = (torch.from_numpy(part).to(users.device) for part in (self.own, self.excluded))

        def mean(queries: Tensor) -> Tensor:
            return info_nce(queries, candidates, own, excluded, temperature).mean()

        return mean(read), mean(users)

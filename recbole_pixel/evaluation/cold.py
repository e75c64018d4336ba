"""How cold items rank: every held-out occurrence, among all items and among the cold ones."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_pixel.data.cold import ColdItems
from recbole_pixel.data.history import HISTORY_LENGTH, HISTORY_START
from recbole_pixel.data.rows import gather_windows
from recbole_pixel.distributed import gather_shares, share
from recbole_pixel.evaluation.cold_calibration import OFFSETS, ColdCalibration

TOP = 10
CASES = 256  # scored at a time, at most
SCORES = 2**24  # of them, at most, unless one case has more: 64 MB, and about three times that while they are ranked


@dataclass(frozen=True)
class ColdRanks:
    """Where cold items stood, case by case, in the order of the dataset's :class:`ColdItems`.

    Attributes:
        all: rank among all items, as calibrated, from 0, ties broken at their middle, (C,).
        cold: the same among the cold items, (C,).
        n_all: how many items were ranked, (C,).
        n_cold: how many of these were cold, (C,).
        by_offset: rank among all items at each of the offsets of a trade-off, (C, S).
    """

    all: Tensor
    cold: Tensor
    n_all: Tensor
    n_cold: Tensor
    by_offset: Tensor

    def summary(self) -> dict[str, Any]:
        """``cases``; under ``all`` and ``cold``, by the items ranked among: ``hit@10``, ``ndcg@10`` and ``chance``.

        That is the HR@10 of a random order. None where there are no cases.
        """
        of = {"all": _summary(self.all, self.n_all), "cold": _summary(self.cold, self.n_cold)}
        return {"cases": len(self.all), **of}


@torch.no_grad()
def rank_cold(
    model: Any,
    dataset: Any,
    device: torch.device,
    batch_size: int = CASES,
    calibration: ColdCalibration | None = None,
) -> ColdRanks:
    """Ranks every occurrence of a cold item.

    Each case asks for the cold item a user consumed, given the warm items consumed before, or, of a general model,
    given the user's id: their first warm item was trained on. What the user consumed before, warm or cold, is not
    ranked against it. Where several processes train, each ranks a share of the cases.

    Args:
        model: a sequential or general recommender of RecBole.
        dataset: a ``PixelSequentialDataset`` or ``PixelGeneralDataset`` with cold items.
        device: where the model lies.
        batch_size: cases scored at a time, at most; fewer of large catalogues.
        calibration: of cold items among all; none by default.
    """
    cold = dataset.cold
    calibration = calibration or ColdCalibration(torch.from_numpy(cold.is_cold))
    model.eval()
    n_items = len(cold.is_cold)
    size = max(1, min(batch_size, SCORES // n_items))
    own = share(len(cold))
    found = [_none(device)]
    for first in range(own.start, own.stop, size):
        part = slice(first, min(first + size, own.stop))
        interaction = _cases(dataset, cold, part)
        scores = model.full_sort_predict(interaction.to(device)).view(part.stop - part.start, -1).float()
        targets = torch.from_numpy(cold.targets[part]).to(device)
        _mask(scores, targets, cold, dataset.histories, part)
        found.append(_ranked(scores, targets, calibration))
    parts = zip(*([getattr(ranks, field.name) for field in fields(ColdRanks)] for ranks in found), strict=True)
    return ColdRanks(*(gather_shares(torch.cat(part), len(cold)).cpu() for part in parts))


def _none(device: torch.device) -> ColdRanks:
    empty = torch.zeros(0, device=device)
    return ColdRanks(empty, empty, empty, empty, torch.zeros(0, len(OFFSETS), device=device))


def _ranked(scores: Tensor, targets: Tensor, calibration: ColdCalibration) -> ColdRanks:
    """Ranks of ``targets`` (B,) by ``scores`` (B, N)."""
    own, among_cold = scores.gather(1, targets[:, None]), scores[:, calibration.is_cold.to(scores.device)]
    n_all, n_cold = ((ranked > -torch.inf).sum(1) for ranked in (scores, among_cold))
    offsets = (calibration.offset, *OFFSETS)
    ranks = calibration.ranks_by_offset(scores, targets, calibration.line(scores), offsets)
    return ColdRanks(ranks[:, 0], ranks_of(own, among_cold), n_all, n_cold, ranks[:, 1:])


def _cases(dataset: Any, cold: ColdItems, part: slice) -> Interaction:
    users = {dataset.uid_field: torch.from_numpy(cold.users[part])}
    if not hasattr(dataset, "item_id_list_field"):
        return Interaction(users)
    length = np.minimum(cold.history_length[part], dataset.max_item_list_len)
    start = cold.history_start[part] + cold.history_length[part] - length
    window = gather_windows(dataset.histories.items, start, length, dataset.max_item_list_len)
    return Interaction(
        {
            **users,
            dataset.item_id_list_field: torch.from_numpy(window),
            dataset.item_list_length_field: torch.from_numpy(length),
            HISTORY_START: torch.from_numpy(cold.history_start[part]),
            HISTORY_LENGTH: torch.from_numpy(cold.history_length[part]),
        }
    )


def _mask(scores: Tensor, targets: Tensor, cold: ColdItems, histories: Any, part: slice) -> None:
    """Takes the padding and everything the user consumed out of ``scores``, in place, but never the target."""
    own = scores.gather(1, targets[:, None])
    scores[:, 0] = -torch.inf
    scores[
        histories.consumed(torch.from_numpy(cold.history_start[part]), torch.from_numpy(cold.history_length[part]))
    ] = -torch.inf
    n_seen = np.diff(cold.seen_offsets)[part]
    seen = cold.seen_cold[cold.seen_offsets[part.start] : cold.seen_offsets[part.stop]]
    rows = np.repeat(np.arange(len(n_seen)), n_seen)
    scores[torch.from_numpy(rows), torch.from_numpy(seen)] = -torch.inf
    scores.scatter_(1, targets[:, None], own)


def ranks_of(own: Tensor, scores: Tensor) -> Tensor:
    """Rank of scores ``own`` (B, 1) among ``scores`` (B, M), which they are of, from 0, ties at their middle: (B,)."""
    above, equal = (scores > own).sum(1), (scores == own).sum(1) - 1
    return above + equal / 2


def _summary(ranks: Tensor, n_ranked: Tensor) -> dict[str, float | None]:
    if len(ranks) == 0:
        return {f"hit@{TOP}": None, f"ndcg@{TOP}": None, "chance": None}
    hits = ranks < TOP
    gain = hits / torch.log2(ranks.clamp(max=TOP) + 2)
    return {
        f"hit@{TOP}": round(hits.double().mean().item(), 4),
        f"ndcg@{TOP}": round(gain.double().mean().item(), 4),
        "chance": (TOP / n_ranked.double()).clamp(max=1).mean().item(),  # small of a large catalogue: not rounded
    }

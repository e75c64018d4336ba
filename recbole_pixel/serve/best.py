"""The best of many scores, in the form of answers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_pixel.serve.histories import UserHistories

Best = list[tuple[np.ndarray, list[float]]]
"""Ids and their scores, of each row."""
COSINES_AT_ONCE = 2**24


def best_items(scores: Tensor, topk: int, without: UserHistories | None, allowed: Tensor | None) -> Best:
    """The best items of each row, fewer than ``topk`` where fewer may be ranked.

    Args:
        scores: (B, N), overwritten.
        topk: at least 1.
        without: what each row's person consumed, and is not to be shown again.
        allowed: which items may be ranked, bool (N,).
    """
    if without is not None:
        without.hide_in(scores)
    if allowed is not None:
        scores[:, ~allowed] = -torch.inf
    return list(_highest(scores, topk))


def nearest_items(table: Tensor, vectors: Tensor, topk: int, without: np.ndarray | None = None) -> Best:
    """The items with the highest cosines, and these.

    Args:
        table: vectors of all items, (N, D); row 0, the padding's, is never near.
        vectors: (n, D).
        topk: at least 1.
        without: an item of each row that is not its own neighbour, (n,).
    """
    unit, asked = F.normalize(table, dim=1), F.normalize(vectors, dim=1)
    found: Best = []
    for rows in torch.arange(len(asked)).split(max(1, COSINES_AT_ONCE // len(unit))):
        cosines = asked[rows] @ unit.T
        cosines[:, 0] = -torch.inf
        if without is not None:
            cosines[torch.arange(len(rows)), torch.from_numpy(without)[rows]] = -torch.inf
        found += _highest(cosines, topk)
    return found


def _highest(scores: Tensor, topk: int) -> Iterator[tuple[np.ndarray, list[float]]]:
    check_topk(topk)
    best = torch.topk(scores, min(topk, scores.shape[1]), dim=1)
    for values, ids in zip(best.values.cpu(), best.indices.cpu().numpy(), strict=True):
        n_ranked = int((values > -torch.inf).sum())
        yield ids[:n_ranked], values[:n_ranked].tolist()


def check_topk(topk: int) -> None:
    """Refuses to rank nothing."""
    if topk < 1:
        raise ValueError(f"topk is {topk}; expected 1 or more")


class TopUsers:
    """The users with the highest scores of each item, of whom only some are there at a time.

    Args:
        topk: how many are kept for each item.
    """

    def __init__(self, topk: int) -> None:
        check_topk(topk)
        self.topk = topk
        self._ids: Tensor | None = None
        self._scores: Tensor | None = None

    def add(self, ids: np.ndarray, scores: Tensor) -> None:
        """Looks at some users more: their ids, (B,), and scores of n items, (B, n)."""
        own = torch.from_numpy(ids).to(scores.device)[:, None].expand(scores.shape)
        if self._ids is not None and self._scores is not None:
            own, scores = torch.cat([self._ids, own]), torch.cat([self._scores, scores])
        best = torch.topk(scores, min(self.topk, len(scores)), dim=0)
        self._ids, self._scores = own.gather(0, best.indices), best.values

    def best(self) -> Best:
        """Of each item, the users and their scores, the highest first."""
        if self._ids is None or self._scores is None:
            return []
        return [(ids.cpu().numpy(), scores.tolist()) for ids, scores in zip(self._ids.T, self._scores.T, strict=True)]

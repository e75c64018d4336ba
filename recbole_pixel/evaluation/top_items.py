"""The best items of each user, without the scores of all users and all items at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_pixel.evaluation.score_blocks import ScoreBlocks
from recbole_pixel.evaluation.search import Search, best_of
from recbole_pixel.evaluation.sieve import Sieve, Sieves

ROWS = 512  # users scored at a time
WIDTH = 8192  # items scored at a time: a block of 16 MB, which the processor's cache holds while it is searched
SCORES = 2**26  # scores computed at a time where rows are ranked whole: 256 MB


def top_items(scores: ScoreBlocks, k: int, sieves: Sieves | None = None, width: int = WIDTH) -> Tensor:
    """Ids of each user's ``k`` best items, the best first: what ``torch.topk`` finds in the whole scores.

    Blocks are searched only for what can still be among the best. Rows with ties around these, or with fewer than ``k``
    items left in, are ranked whole, so that ties are broken as torch breaks them.

    Args:
        scores: (B, N).
        k: at most N.
        sieves: rounds items' vectors, where that is faster; the result is the same, up to the order of scores whose
            difference is one of float32's rounding.
        width: items scored at a time. Catalogues of less than twice as many are ranked whole, some users at a time; and
            so are scores on accelerators, which rank faster than they wait for a search.

    Returns:
        int64, (B, k).

    Raises:
        ValueError: there are fewer than ``k`` items.
    """
    n_rows, n_items = scores.shape
    if k > n_items:
        raise ValueError(f"asked for the {k} best of {n_items - 1} items; set topk to at most as many as there are")
    if scores.device.type != "cpu" or n_items < 2 * width or 4 * k > width:
        return whole_top_items(scores, torch.arange(n_rows, device=scores.device), k)
    sieve = None if sieves is None else sieves.of(scores)
    found = []
    for start in range(0, n_rows, ROWS):
        rows = slice(start, min(start + ROWS, n_rows))
        items, is_sure = _searched(scores, rows, k, width, sieve)
        unsure = (~is_sure).nonzero()[:, 0]
        if len(unsure):
            items[unsure] = whole_top_items(scores, unsure + start, k)
        if sieves is not None and sieve is not None:
            sieves.note(len(unsure), len(items))
        found.append(items)
    return torch.cat(found)


def whole_top_items(scores: ScoreBlocks, rows: Tensor, k: int) -> Tensor:
    """:func:`top_items` of some ``rows`` (R,), by ``torch.topk`` of all their scores."""
    n_items = scores.shape[1]
    found = [
        torch.topk(scores.block(part, slice(0, n_items)), k, dim=-1).indices
        for part in rows.split(max(1, SCORES // n_items))
    ]
    return torch.cat(found)


def _searched(scores: ScoreBlocks, rows: slice, k: int, width: int, sieve: Sieve | None) -> tuple[Tensor, Tensor]:
    """The best items of some rows, (R, k), and in which of them these are sure, bool (R,)."""
    passing = scores if sieve is None else sieve.coarse
    search = Search(rows.stop - rows.start, k, width, None if sieve is None else sieve.slack[rows])
    for start in range(0, scores.shape[1], width):
        columns = slice(start, min(start + width, scores.shape[1]))
        search.add(passing.block(rows, columns), start)
    ids, values = search.candidates()
    is_sure = ~search.is_given_up
    if sieve is not None:
        values, is_right = sieve.exact(rows, ids, values)
        is_sure &= is_right
    return best_of(ids, values, k, is_sure)

"""Keeps padding from modules that have no mask for it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def by_length(run: Callable[[Tensor, Tensor], Tensor], item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
    """What ``run`` makes of each row, called once for the rows of each length, cut to that length.

    Args:
        run: from item ids (b, l) and lengths (b,) to vectors (b, D).
        item_seq: item ids, padded on the right, (B, L).
        item_seq_len: number of items of each row, (B,).

    Returns:
        Shape (B, D), in the order of the rows.
    """
    order = item_seq_len.argsort(stable=True)
    lengths, counts = item_seq_len.unique(return_counts=True)
    groups = zip(lengths.tolist(), order.split(counts.tolist()), strict=True)
    found = torch.cat([run(item_seq[rows, :length], item_seq_len[rows]) for length, rows in groups])
    return found[order.argsort()]

"""Graphs of sessions: items are nodes, an edge leads from each item to the next."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def session_graphs(item_seq: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What RecBole's ``SRGNN._get_slice`` makes of each row in a Python loop, for all rows at once.

    Padding is a node (the first, with id 0) of no edge.

    Args:
        item_seq: item ids, padded on the right with 0, shape (B, L).

    Returns:
        The node of each position, (B, L); edges that come in and go out, each row of weights summing to 1 or 0,
        (B, L, 2 L); the items of the nodes, sorted, then zeros, (B, L); which positions hold items, bool (B, L).
    """
    n_rows, length = item_seq.shape
    ordered, place = item_seq.sort(dim=1)
    is_new = F.pad(ordered[:, 1:] != ordered[:, :-1], (1, 0), value=False)
    rank = is_new.cumsum(1)
    node = torch.zeros_like(item_seq).scatter(1, place, rank)
    items = torch.zeros_like(item_seq).scatter(1, rank, ordered)
    edge = torch.zeros(n_rows, length, length, device=item_seq.device)
    row, position = (item_seq[:, 1:] > 0).nonzero(as_tuple=True)
    edge[row, node[row, position], node[row, position + 1]] = 1.0
    weights_in = edge.transpose(1, 2) / edge.sum(1).clamp(min=1)[..., None]
    weights_out = edge / edge.sum(2).clamp(min=1)[..., None]
    return node, torch.cat([weights_in, weights_out], dim=2), items, item_seq > 0

"""Which items of a row a masked language model hides, to predict them from the others."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_masks(items: Tensor, mask_ratio: float, last_ratio: float) -> Tensor:
    """Positions to hide, drawn from torch's generator: at least one of each row.

    Args:
        items: item ids, padded on the right with 0, (B, L); at least one item in each row.
        mask_ratio: chance of each item to be hidden (a cloze); where none is, one of the row's at random.
        last_ratio: chance of a row to have only its last item hidden, as it will be at evaluation.

    Returns:
        bool, (B, L).
    """
    is_item = items > 0
    last = is_item.sum(1) - 1
    chance = torch.rand(items.shape, device=items.device).masked_fill(~is_item, 2.0)
    hidden = (chance < mask_ratio) | (chance == chance.min(dim=1, keepdim=True).values)
    positions = torch.arange(items.shape[1], device=items.device)
    only_last = torch.rand(len(items), 1, device=items.device) < last_ratio
    return torch.where(only_last, positions == last[:, None], hidden & is_item)

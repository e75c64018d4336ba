"""Which items of a row a masked language model hides, to predict them from the others."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_rows(items: Tensor, mask_ratio: float, last_ratio: float) -> tuple[Tensor, Tensor]:
    """Rows and what is hidden of them, drawn from torch's generator.

    Most rows are a cloze (:func:`draw_masks`). The others are what evaluation asks: a history, and its next item
    hidden. Such a row is cut behind an item drawn at random, so that in time every item is a next one, as it is in
    RecBole's rows of all prefixes.

    Args:
        items: item ids, padded on the right with 0, (B, L); at least one item in each row.
        mask_ratio: chance of each item of a cloze to be hidden.
        last_ratio: chance of a row to be cut and to have only its last item hidden.

    Returns:
        Item ids, (B, L), and which of them are hidden: bool, (B, L).
    """
    only_last = torch.rand(len(items), 1, device=items.device) < last_ratio
    length = (items > 0).sum(1, keepdim=True)
    kept = (2 + torch.rand(len(items), 1, device=items.device) * (length - 1)).long().minimum(length)
    position = torch.arange(items.shape[1], device=items.device)
    cut = items.masked_fill(only_last & (position >= kept), 0)
    return cut, torch.where(only_last, position == kept - 1, draw_masks(items, mask_ratio))


def draw_masks(items: Tensor, mask_ratio: float) -> Tensor:
    """Positions to hide, drawn from torch's generator: at least one of each row.

    Args:
        items: item ids, padded on the right with 0, (B, L); at least one item in each row.
        mask_ratio: chance of each item to be hidden (a cloze); where none is, one of the row's at random.

    Returns:
        bool, (B, L).
    """
    is_item = items > 0
    chance = torch.rand(items.shape, device=items.device).masked_fill(~is_item, 2.0)
    hidden = (chance < mask_ratio) | (chance == chance.min(dim=1, keepdim=True).values)
    return hidden & is_item

"""Positions of three axes (time, row, column) for texts whose pictures are all of one size."""

from __future__ import annotations

import torch
from torch import Tensor


def grid_positions(is_image: Tensor, mask: Tensor, side: int) -> Tensor:
    """The positions that Qwen's models give the tokens of rows, all rows at once: (3, B, T); 0 where ``mask`` is not.

    A text token is one step behind the token before it, on all three axes. A picture's tokens stand at the same time,
    on a grid of rows and columns; what follows it is ``side`` steps behind its start.

    Args:
        is_image: which tokens are a picture's, bool (B, T); ``side`` ** 2 of them make one.
        mask: which tokens are real, bool (B, T).
        side: tokens along a side of a picture.
    """
    is_image, is_text = is_image & mask, mask & ~is_image
    texts_before = is_text.cumsum(-1) - is_text.long()
    images_before = is_image.cumsum(-1) - is_image.long()
    place = images_before % side**2  # within its picture; 0 for text, behind whole pictures alone
    start = texts_before + images_before // side**2 * side
    place = place * is_image
    axes = torch.stack([start, start + place // side, start + place % side])
    return axes * mask

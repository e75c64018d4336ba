"""An encoder for semantic ids: items that are a code a level."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from recbole_pixel.store import ArrayStore

BLOCK = 65536  # records looked at at a time


class CodeEncoder(nn.Module):
    """The mean of an item's code embeddings, from one table of ``n_levels`` times ``n_codes`` rows.

    Args:
        n_levels: codes of an item.
        n_codes: different codes of a level.
        size: D, of a code's embedding.
        deviation: of the embeddings at the start.
    """

    is_table = True  # learns as other tables do, see `recbole_pixel.training.parameter_groups`
    offset: Tensor

    def __init__(self, n_levels: int, n_codes: int, size: int, deviation: float) -> None:
        super().__init__()
        self.codes = nn.EmbeddingBag(n_levels * n_codes, size, mode="mean")
        nn.init.normal_(self.codes.weight, std=deviation)
        self.register_buffer("offset", torch.arange(n_levels) * n_codes, persistent=False)
        self.n_features = size

    def head(self, codes: Tensor) -> Tensor:
        """Stored codes (U, n_levels) to (U, D)."""
        return self.codes(codes.long() + self.offset)

    forward = head


def count_codes(store: ArrayStore) -> int:
    """How many codes a level has: one more than the largest in ``store``, or what it was made with.

    Raises:
        ValueError: a code is below 0.
    """
    largest = 0
    for first in range(0, len(store), BLOCK):
        codes = store.gather(np.arange(first, min(first + BLOCK, len(store))))
        if codes.min() < 0:
            raise ValueError(f"{store.path} holds codes below 0; expected 0, 1, ... in each level")
        largest = max(largest, int(codes.max()))
    return max(largest + 1, int(store.provenance.get("codes", 0)))

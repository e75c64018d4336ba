"""What the frozen part of an encoder makes of each item's array, computed once and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_pixel.data.built_store import blocks_of, built_store
from recbole_pixel.store import ArrayStore

BLOCK = 64  # items that go through the trunk at a time


def built_trunk(
    source: ArrayStore,
    encoder: Any,
    folder: Path,
    device: torch.device,
    kept: torch.dtype,
    seen: Callable[[Tensor], Tensor],
    provenance: Mapping[str, Any],
) -> ArrayStore:
    """The store of what ``encoder.trunk`` makes of the arrays in ``source``; built once.

    It is computed in float32. As ``kept`` bf16, it is rounded to that and stored as the uint16 of the same bytes.

    Args:
        source: the arrays; the store has their tokens.
        encoder: a module with ``trunk`` and ``trunk_identity``.
        folder: where stores lie.
        device: where to compute.
        kept: type of the numbers, float32 or bf16.
        seen: from arrays as they are stored, (n, ...), to what the trunk reads.
        provenance: what the arrays in ``source`` are.
    """
    identity, dtype = encoder.trunk_identity(), np.dtype(np.uint16 if kept == torch.bfloat16 else np.float32)
    whole = {"kind": "activations", "type": str(kept), **provenance, **identity}
    was_training, home = encoder.training, next(encoder.parameters()).device
    encoder.eval().to(device)

    def run(records: np.ndarray) -> np.ndarray:
        arrays = seen(torch.from_numpy(source.gather(records))).to(device)
        activations = encoder.trunk(arrays).to(kept).contiguous().cpu()
        return activations.view(torch.uint16).numpy() if kept == torch.bfloat16 else activations.numpy()

    def blocks(start: int) -> Iterator[np.ndarray]:
        """Activations of the items from the ``start``-th record on."""
        for block in blocks_of(len(source), start, BLOCK):
            yield run(np.arange(block.start, block.stop))

    shape = run(np.arange(1)).shape[1:]
    try:
        return built_store(folder, f"trunk-{identity['encoder']}", list(source.tokens), shape, dtype, whole, blocks)
    finally:
        encoder.train(was_training).to(home)

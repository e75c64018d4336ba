"""What tests of vision-language models read with: tiny backbones, random pictures, texts with pictures in them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_vlms import SIDE
from torch import Tensor

from recbole_pixel.encoder.vlm import VisionLanguageBackbone

FolderOf = Callable[[str], Path]
TEXTS = [["red cover", "blue book", "of item"], ["a film as", "follows"]]
"""Pieces of two texts, with a picture between any two pieces."""


def load(folder_of: FolderOf, family: str, **options: Any) -> VisionLanguageBackbone:
    """The tiny backbone of ``family``, in eval mode; of a frozen one, the same each time."""
    folder = str(folder_of(family))
    return _load(folder, family, **options) if options else _frozen(folder, family)


def _load(folder: str, family: str, **options: Any) -> VisionLanguageBackbone:
    return VisionLanguageBackbone.load(folder, image_size=SIDE[family], **{"tune": "frozen", **options}).eval()


_frozen = cache(_load)


def pictures(n_pictures: int, side: int) -> Tensor:
    """Random pictures, uint8 (n, 3, side, side)."""
    drawn = np.random.default_rng(0).integers(0, 256, (n_pictures, 3, side, side), dtype=np.uint8)
    return torch.from_numpy(drawn)


def sample(backbone: VisionLanguageBackbone, pieces: list[str]) -> list[int]:
    """Token ids of pieces of text with a picture between any two of them."""
    ids = list(backbone.bos)
    for place, piece in enumerate(pieces):
        ids += (backbone.image_markup if place else []) + backbone.tokenizer(piece, add_special_tokens=False).input_ids
    return ids


def batch(backbone: VisionLanguageBackbone, rows: list[list[int]], width: int = 0) -> tuple[Tensor, Tensor]:
    """Rows of ids, padded on the right, and their mask."""
    width = max(width, *map(len, rows))
    ids = torch.tensor([row + [backbone.pad_id] * (width - len(row)) for row in rows])
    return ids, torch.arange(width) < torch.tensor([[len(row)] for row in rows])

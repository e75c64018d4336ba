"""From the states of a text's tokens to one vector of the text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

POOLINGS = ("mean", "cls", "last")
FLAG = "pooling_mode_"
NAMES = {"mean_tokens": "mean", "cls_token": "cls", "lasttoken": "last"}
"""What sentence-transformers calls them."""


def pooled(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """One vector of each text; what is masked has no part in it.

    Args:
        states: shape (U, T, H).
        mask: bool, (U, T): the tokens of each text, at least one, in front of the padding.
        pooling: ``mean`` of the tokens, the first (``cls``), or the ``last``.

    Returns:
        Shape (U, H).
    """
    if pooling == "cls":
        return states[:, 0]
    if pooling == "last":
        return states[torch.arange(len(states), device=states.device), mask.sum(1) - 1]
    # masked by a choice, not by a product: a state of the padding may be anything
    summed = torch.where(mask[..., None], states, states.new_zeros(())).sum(1)
    return summed / mask.sum(1, keepdim=True)


def told_pooling(folder: Path | None) -> tuple[str | None, bool]:
    """How sentence-transformers pools the model in ``folder``, and whether it scales vectors to unit length.

    Raises:
        ValueError: it pools in a way that is none of :data:`POOLINGS`.
    """
    if folder is None or not (folder / "modules.json").is_file():
        return None, False
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    kinds = {module["type"].rpartition(".")[2]: module["path"] for module in modules}
    path = folder / kinds.get("Pooling", "1_Pooling") / "config.json"
    pooling = _pooling_in(json.loads(path.read_text(encoding="utf-8")), path) if path.is_file() else None
    return pooling, "Normalize" in kinds


def _pooling_in(settings: dict[str, Any], path: Path) -> str:
    """One of :data:`POOLINGS`: ``pooling_mode`` names it, or in older files a flag of its own says so."""
    flags = [key for key, value in settings.items() if key.startswith(FLAG) and value is True]
    newer = settings.get("pooling_mode", [key.removeprefix(FLAG) for key in flags])
    named = [newer] if isinstance(newer, str) else list(newer)
    found = [NAMES.get(name, name) for name in named]
    if len(found) != 1 or found[0] not in POOLINGS:
        raise ValueError(
            f"{path} asks for {', '.join(found) or 'nothing'}; known are {', '.join(POOLINGS)}: set text_pooling"
        )
    return found[0]

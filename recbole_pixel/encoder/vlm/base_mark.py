"""A mark of a base model, by which what was learnt on it knows it again."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

SAMPLED = 4096  # numbers of a tensor that its base is recognised by


def base_digest(backbone: Any) -> bytes:
    """A hash of a base, 32 bytes: of its kind, and of samples of what no adapter and no quantisation changes.

    These are its embeddings and norms. They are rounded to bf16, so that a base is itself in any precision.

    Args:
        backbone: with ``model``, of transformers.
    """
    model = backbone.model
    digest = sha256(str(model.config.model_type).encode())
    for name, parameter in sorted(model.named_parameters()):
        is_own = "lora_" not in name and (parameter.dim() < 2 or "embed" in name)
        if is_own and parameter.is_floating_point():
            values = parameter.detach().flatten()
            sample = values[:: max(1, len(values) // SAMPLED)].float().cpu().bfloat16()
            digest.update(f"{name.replace('.base_layer', '')}{tuple(parameter.shape)}".encode())
            digest.update(sample.view(torch.uint8).numpy().tobytes())
    return digest.digest()


def base_mark(backbone: Any) -> Tensor:
    """:func:`base_digest` as a tensor, uint8 (32,), to lie beside what was learnt."""
    return torch.frombuffer(bytearray(base_digest(backbone)), dtype=torch.uint8)


def short(mark: Tensor) -> str:
    """The first letters of a mark, for messages."""
    return bytes(mark.cpu().tolist()).hex()[:12]

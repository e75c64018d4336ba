"""Where a loss that is not a number comes from: from weights that are none, from inputs, or from the step itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from recbole_pixel.health.parts import named

BLOCK = 1024  # items whose inputs are looked at together

ADVICE = (
    "lower learning_rate or encoder_learning_rate, set clip_grad_norm: {max_norm: 1.0}, or train with "
    "precision: float32"
)


def broken_parameters(model: nn.Module) -> list[str]:
    """Names of the parameters that hold something that is not finite."""
    return [name for name, parameter in model.named_parameters() if not torch.isfinite(parameter).all()]


def broken_gradients(model: nn.Module) -> list[str]:
    """Names of the parameters whose gradients do."""
    named_gradients = ((name, parameter.grad) for name, parameter in model.named_parameters())
    return [name for name, own in named_gradients if own is not None and not torch.isfinite(own).all()]


def broken_items(tower: Any) -> list[int]:
    """Ids of items whose inputs hold something that is not finite, of the first block in which there are any."""
    inputs = getattr(tower, "inputs", None)
    if inputs is None:
        return []
    for ids in torch.arange(1, tower.num_embeddings).split(BLOCK):
        arrays = inputs.fetch(ids)
        if not arrays.is_floating_point():
            return []
        is_broken = ~torch.isfinite(arrays.flatten(1)).all(1)
        if is_broken.any():
            return ids[is_broken.cpu()].tolist()
    return []


def why_not_finite(model: nn.Module, tower: Any, tokens: Sequence[str]) -> str:
    """What is broken, in words that say what to do.

    Args:
        model: as it is behind the step, or before its backward.
        tower: its item tower.
        tokens: of the items, by id.
    """
    items = broken_items(tower)
    if items:
        return (
            f"the features of items hold numbers that are not finite: {named([str(tokens[item]) for item in items])}; "
            f"make them again, see `recbole-pixel features show`"
        )
    weights, gradients = broken_parameters(model), broken_gradients(model)
    if weights:
        return f"not finite are the weights of {named(weights)} ({len(weights)} tensors); {ADVICE}"
    if gradients:
        return f"all weights are finite; not finite are the gradients of {named(gradients)}; {ADVICE}"
    return f"all weights, gradients and inputs are finite: the step itself overflows; {ADVICE}"

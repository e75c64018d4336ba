"""The parts of a training run that know nothing of RecBole: parameter groups, schedule, precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn


def parameter_groups(
    model: nn.Module, item_table: str, rate: float, decay: float, encoder_rate: float, encoder_decay: float
) -> list[dict[str, Any]]:
    """Parameters that learn, in groups with a learning rate and weight decay of their own.

    The encoder's rate is that of the whole item tower: encoder and projection, as in PixelRec, whose projection is part
    of its visual encoder. What looks rows up by number instead of computing them from pictures learns like the rest,
    wherever it lies: modules with ``is_table``. Biases and norms are not decayed.

    Args:
        model: the whole model.
        item_table: name of its item tower.
        rate: learning rate of the rest.
        decay: weight decay of the rest.
        encoder_rate: learning rate of the tower's encoder and projection.
        encoder_decay: weight decay of these.
    """
    of_tower = (f"{item_table}.encoder.", f"{item_table}.projection.")
    tables = {
        parameter
        for module in model.modules()
        if getattr(module, "is_table", False)
        for parameter in module.parameters()
    }
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (name.startswith(of_tower) and parameter not in tables, parameter.dim() > 1)
            groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": encoder_rate if of_encoder else rate,
            "weight_decay": (encoder_decay if of_encoder else decay) if decays else 0.0,
        }
        for (of_encoder, decays), parameters in groups.items()
    ]


def learning_rate_factor(schedule: str, n_warmup: int, n_steps: int) -> Callable[[int], float]:
    """What the learning rate is multiplied with, by step.

    Args:
        schedule: ``constant`` or ``cosine`` (to zero at ``n_steps``).
        n_warmup: steps over which the rate rises linearly from zero.
        n_steps: length of the run.

    Raises:
        ValueError: ``schedule`` is neither.
    """
    if schedule not in ("constant", "cosine"):
        raise ValueError(f"lr_schedule is {schedule!r}; expected constant or cosine")

    def factor(step: int) -> float:
        if step < n_warmup:
            return (step + 1) / n_warmup
        if schedule == "constant":
            return 1.0
        done = (step - n_warmup) / max(1, n_steps - n_warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    return factor


def count_parameters(parameters: Iterable[nn.Parameter]) -> dict[str, int]:
    """Numbers of parameters: ``total`` and ``trained``."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in parameters]
    return {"total": sum(size for size, _ in sizes), "trained": sum(size for size, learns in sizes if learns)}

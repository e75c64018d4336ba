"""The parts of a training run that know nothing of RecBole: parameter groups, schedule, accumulation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

PROJECTIONS = ("projection", "encoder.parts", "encoder.fusion")
"""Where item towers project: behind the encoder, or, where there are several, behind each and in their fusion."""


def parameter_groups(
    model: nn.Module,
    item_table: str,
    rate: float,
    decay: float,
    encoder_rate: float,
    encoder_decay: float,
    projection_rate: float | None = None,
) -> list[dict[str, Any]]:
    """Parameters that learn, in groups with a learning rate and weight decay of their own.

    The encoder's rate is that of the whole item tower: encoder and projection, as in PixelRec, whose projection is part
    of its visual encoder; a projection that starts anew may have one of its own. What looks rows up by number instead
    of computing them from pictures learns like the rest, wherever it lies: modules with ``is_table``. Biases and norms
    are not decayed.

    Args:
        model: the whole model.
        item_table: name of its item tower.
        rate: learning rate of the rest.
        decay: weight decay of the rest.
        encoder_rate: learning rate of the tower's encoder and projection.
        encoder_decay: weight decay of these.
        projection_rate: learning rate of the tower's projection; the encoder's by default.
    """
    rates = {
        "rest": rate,
        "encoder": encoder_rate,
        "projection": encoder_rate if projection_rate is None else projection_rate,
    }
    tables = {
        parameter
        for module in model.modules()
        if getattr(module, "is_table", False)
        for parameter in module.parameters()
    }
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = "rest" if parameter in tables else _part_of_tower(name, item_table)
            groups.setdefault((part, parameter.dim() > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": rates[part],
            "weight_decay": (decay if part == "rest" else encoder_decay) if decays else 0.0,
        }
        for (part, decays), parameters in groups.items()
    ]


def _part_of_tower(name: str, item_table: str) -> str:
    """Which part of the item tower the parameter ``name`` belongs to: ``encoder``, ``projection``, or ``rest``."""
    if name.startswith(tuple(f"{item_table}.{start}." for start in PROJECTIONS)):
        return "projection"
    return "encoder" if name.startswith(f"{item_table}.encoder.") else "rest"


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


FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)
"""Optimisers that update all tensors in one pass, on CPUs and CUDA: the usual ones read and write them many times."""


def fuse(optimizer: torch.optim.Optimizer) -> None:
    """Lets ``optimizer`` work in one pass, where torch has that for it, the devices and the types of its parameters."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if type(optimizer) in FUSED and all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters):
        for group in optimizer.param_groups:
            group["fused"] = True


class Accumulation:
    """Gradients of several batches, averaged: those of one batch of all their rows, where its loss is a mean over them.

    Batches count by their number of targets. Call :meth:`backward` for each, and :meth:`finish` before the optimiser
    steps.

    Args:
        n_batches: how many belong together.

    Raises:
        ValueError: ``n_batches`` is below 1.
    """

    def __init__(self, n_batches: int) -> None:
        if n_batches < 1:
            raise ValueError(f"accumulate_steps is {n_batches}; expected 1 or more")
        self.n_batches, self.n_done = n_batches, 0
        self.weight: Tensor | None = None

    @property
    def is_full(self) -> bool:
        """Whether the optimiser is to step."""
        return self.n_done == self.n_batches

    @property
    def is_last(self) -> bool:
        """Whether it will be after the next batch."""
        return self.n_done + 1 == self.n_batches

    def backward(self, loss: Tensor, n_targets: Tensor) -> None:
        """Adds the gradients of a batch's ``loss``, a mean over ``n_targets``, a number that stays on its device."""
        self.n_done += 1
        if self.n_batches == 1:
            loss.backward()
            return
        self.weight = n_targets if self.weight is None else self.weight + n_targets
        (loss * n_targets).backward()

    def finish(self, parameters: Iterable[nn.Parameter]) -> None:
        """Makes the sum a mean, and begins anew."""
        if self.weight is not None:
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            torch._foreach_div_(gradients, self.weight.to(gradients[0].dtype))
        self.n_done, self.weight = 0, None

"""How far weights move in a step, by a sample of them: not at all, or as far as they are large."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

import torch
from torch import Tensor, nn

from recbole_pixel.health.notes import Notes

SAMPLE = 4096
"""Numbers of a tensor that are compared."""

TENSORS = 4
"""Tensors of a part that are looked at, the largest."""

LOOKS = 5
"""Looks whose median or maximum counts."""

SETTLED = 100
"""Steps before anything is said: what starts near zero rightly moves by its own length at first."""

STILL = 1e-3
"""Share of their length that weights move by in the whole run, at the fastest pace seen, below which they stand still:
a thousandth changes no ranking that could be measured."""

WILD = 0.2
"""Share of their length that weights move by in one step: at a fifth, what was learnt is gone after five."""


class Movement:
    """Lengths of weights, and of what a step of the optimiser adds to them, at some steps.

    Rows that are looked up by number, of embeddings, are left out: most of them rightly stay where they are.

    Args:
        notes: where to tell.
        model: whose weights.
        parts: parameters that learn, by part and name.
        n_steps: of the optimiser, in the whole run.
        n_warm_up: of them, those over which the rate rises.
    """

    def __init__(
        self,
        notes: Notes,
        model: nn.Module,
        parts: Mapping[str, Mapping[str, nn.Parameter]],
        n_steps: int,
        n_warm_up: int = 0,
    ) -> None:
        self.notes, self.n_steps, self.first = notes, n_steps, max(SETTLED, n_warm_up)
        tables = {
            id(parameter)
            for module in model.modules()
            if isinstance(module, nn.Embedding) or getattr(module, "is_table", False)
            for parameter in module.parameters()
        }
        self.sampled = {
            part: sorted((p for p in own.values() if id(p) not in tables), key=nn.Parameter.numel)[-TENSORS:]
            for part, own in parts.items()
        }
        self.before: dict[str, Tensor] = {}
        self.waiting: list[tuple[int, str, Tensor]] = []
        self.seen: dict[str, list[float]] = {part: [] for part in self.sampled}

    @torch.no_grad()
    def note_before(self) -> None:
        """Copies the sample, before the optimiser steps."""
        self.before = {part: _sample(tensors) for part, tensors in self.sampled.items() if tensors}

    @torch.no_grad()
    def note_after(self, step: int) -> None:
        """Compares it, when the optimiser has made its ``step``-th step; waits for nothing."""
        for part, before in self.before.items():
            moved = torch.linalg.vector_norm(_sample(self.sampled[part]) - before)
            self.waiting.append((step, part, moved / torch.linalg.vector_norm(before).clamp(min=1e-12)))
        self.before = {}

    def read(self, step: int) -> None:
        """Reads what was looked at and tells what it shows."""
        if not self.waiting:
            return
        shares = torch.stack([share for *_, share in self.waiting]).tolist()
        for (at, part, _), share in zip(self.waiting, shares, strict=True):
            if at >= self.first:
                self.seen[part].append(share)
        self.waiting = []
        for part, own in self.seen.items():
            if len(own) >= LOOKS:
                self._tell(part, own[-LOOKS:], max(own), step)

    def _tell(self, part: str, latest: list[float], fastest: float, step: int) -> None:
        rate = "encoder_learning_rate" if part != "the recommender" else "learning_rate"
        if fastest * self.n_steps < STILL:
            self.notes.tell(
                "weights_stand_still",
                f"the weights of {part} move by {fastest:.1g} of their length in a step, {fastest * self.n_steps:.1g} "
                f"in the whole run of {self.n_steps} steps: nothing is learnt there. Raise {rate}, or freeze them",
                step,
            )
        if median(latest) > WILD:
            self.notes.tell(
                "weights_jump",
                f"the weights of {part} move by {100 * median(latest):.0f}% of their length in a step (median of "
                f"{LOOKS} looks): what was learnt is lost at once. Lower {rate}",
                step,
            )


def _sample(tensors: list[nn.Parameter]) -> Tensor:
    """Numbers evenly spread over the rows of ``tensors``, float32, a copy."""
    return torch.cat([_rows(tensor).float().flatten() for tensor in tensors])


def _rows(tensor: nn.Parameter) -> Tensor:
    if tensor.dim() == 0 or not tensor.numel():
        return tensor
    n_rows = max(1, SAMPLE * len(tensor) // tensor.numel())
    return tensor.detach()[:: -(-len(tensor) // n_rows)]

"""The losses of single steps: whether they explode, and whether a part of them is nothing."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_pixel.health.notes import Notes

EXPLODED = 5.0
"""Times the loss of the start, and of the run's median. Cross entropy starts at that of guessing, ln U, the logistic
losses at ln 2: five times as much says that scores are far worse than none."""

WINDOW = 20
"""Steps whose median is compared: single steps of a healthy run may be high."""

TOTAL = "the loss"


class StepLosses:
    """Losses as they come, kept where they are until they are read.

    Args:
        notes: where to tell.

    Attributes:
        n_steps: how many were read.
    """

    def __init__(self, notes: Notes) -> None:
        self.notes, self.n_steps = notes, 0
        self.waiting: dict[str, list[Tensor]] = {}
        self.first: float | None = None  # before any step: that of guessing
        self.window: list[float] = []
        self.medians: list[float] = []
        self.n_zero: dict[str, int] = {}

    def add(self, loss: Tensor, terms: Mapping[str, Tensor]) -> None:
        """Takes the loss of a step and the terms that it is the sum of, by name; waits for nothing."""
        for name, value in {TOTAL: loss, **terms}.items():
            self.waiting.setdefault(name, []).append(value.detach())

    def read(self) -> np.ndarray:
        """The losses since the last reading, (n,); tells what they show. Waits for the device once."""
        names = [name for name, values in self.waiting.items() if values]
        if TOTAL not in names:
            return np.zeros(0)
        sizes = [len(self.waiting[name]) for name in names]
        together = torch.stack([value.float().sum() for name in names for value in self.waiting[name]])
        parts = np.split(together.cpu().numpy(), np.cumsum(sizes)[:-1])
        self.waiting = {}
        values = dict(zip(names, parts, strict=True))
        self.n_steps += len(values[TOTAL])
        self._count_zeros(values)
        self._fill_window(values[TOTAL])
        return values[TOTAL]

    def plain(self) -> dict[str, Any]:
        """What later losses are compared with, as plain values; what waits to be read is not in it."""
        return {
            "n_steps": self.n_steps,
            "first": self.first,
            "window": list(self.window),
            "medians": list(self.medians),
            "n_zero": dict(self.n_zero),
        }

    def take(self, seen: Mapping[str, Any]) -> None:
        """Goes on from what :meth:`plain` gave."""
        self.n_steps, self.first = seen["n_steps"], seen["first"]
        self.window, self.medians, self.n_zero = list(seen["window"]), list(seen["medians"]), dict(seen["n_zero"])

    @property
    def is_rising(self) -> bool:
        """Whether the last window's median lies above that of all before."""
        return len(self.medians) > 1 and self.medians[-1] > median(self.medians[:-1])

    def _fill_window(self, losses: np.ndarray) -> None:
        self.window += losses.tolist()
        if self.first is None and self.window:
            self.first = self.window[0]
        while len(self.window) >= WINDOW:
            self._compare(median(self.window[:WINDOW]))
            self.window = self.window[WINDOW:]

    def _compare(self, now: float) -> None:
        usual = max(self.medians[0], median(self.medians)) if self.medians else self.first
        self.medians.append(now)
        if usual and 0 < usual < now / EXPLODED:
            self.notes.tell(
                "loss_explodes",
                f"the training loss is {now:.4g} (median of {WINDOW} steps), {now / usual:.0f} times what it was "
                f"({usual:.4g}): training goes astray. Lower learning_rate or encoder_learning_rate, set warmup_steps, "
                f"or clip gradients: clip_grad_norm: {{max_norm: 1.0}}",
                self.n_steps,
            )

    def _count_zeros(self, values: Mapping[str, np.ndarray]) -> None:
        for name, own in values.items():
            self.n_zero[name] = 0 if own.any() else self.n_zero.get(name, 0) + len(own)
        dead = [name for name, n in self.n_zero.items() if n >= WINDOW]
        if not dead:
            return
        what = TOTAL if TOTAL in dead else f"a part of the loss, {' and '.join(dead)},"
        self.notes.tell(
            "term_is_zero",
            f"{what} was exactly zero in each of the last {WINDOW} steps or more: nothing is learnt from it. Its "
            f"weight is 0, a batch holds nothing to compare with (raise train_batch_size), or what it asks is answered "
            f"already (extra_candidates, shared_negatives)",
            self.n_steps,
        )

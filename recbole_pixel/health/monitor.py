"""Puts together what is looked at while a run trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from recbole_pixel.health.dealing import Dealing
from recbole_pixel.health.gradients import Gradients
from recbole_pixel.health.losses import StepLosses
from recbole_pixel.health.movement import Movement
from recbole_pixel.health.not_finite import ADVICE, why_not_finite
from recbole_pixel.health.notes import Notes
from recbole_pixel.health.parts import learning_parts
from recbole_pixel.health.progress import Progress
from recbole_pixel.health.vectors import Vectors

FIRST_LOOKS = 5
"""Steps of the optimiser at which gradients and weights are looked at, from the first."""

EVERY = 10
"""After them, one of so many: a look costs about what the optimiser's own pass over the gradients does."""


class Plan(NamedTuple):
    """What is known of a run before it starts.

    Attributes:
        n_steps: of the optimiser, in all of it.
        n_warm_up: of them, those over which the rates rise.
        n_done: of them, those that an earlier part of the run made.
        n_batches: per step of the optimiser.
        tokens: of the items, by id.
        seed: of draws that nothing else depends on.
    """

    n_steps: int
    n_warm_up: int
    n_done: int
    n_batches: int
    tokens: Sequence[str]
    seed: int


class Health:
    """Looks at a run and keeps what it noticed.

    Args:
        model: that trains.
        item_table: name of its item tower.
        tower: the tower.
        optimizer: tells when it steps.
        notes: where to tell.
        plan: see :class:`Plan`.
        progress: looks at epochs and validations.
    """

    def __init__(
        self,
        model: nn.Module,
        item_table: str,
        tower: Any,
        optimizer: torch.optim.Optimizer,
        notes: Notes,
        plan: Plan,
        progress: Progress,
    ) -> None:
        self.model, self.tower, self.notes, self.plan, self.progress = model, tower, notes, plan, progress
        parts = learning_parts(model, item_table)
        self.losses, self.gradients = StepLosses(notes), Gradients(notes, parts)
        self.movement = Movement(notes, model, parts, plan.n_steps, plan.n_warm_up)
        self.vectors, self.dealing = Vectors(notes), Dealing(notes, plan.seed)
        self.n_updates, self.is_between = plan.n_done, False
        self.losses.n_steps = plan.n_done * plan.n_batches
        self.hooks = [
            optimizer.register_step_pre_hook(lambda *_: self.before_update()),
            optimizer.register_step_post_hook(lambda *_: self.after_update()),
        ]

    def plain(self) -> dict[str, Any]:
        """What later steps and epochs are compared with, as plain values."""
        in_a_row = {"n_collapsed": self.vectors.n_collapsed, "n_dead": self.vectors.n_dead}
        return {"losses": self.losses.plain(), "progress": self.progress.plain(), "in_a_row": in_a_row}

    def take(self, seen: Mapping[str, Any]) -> None:
        """Goes on from what :meth:`plain` gave in an earlier part of the run."""
        self.losses.take(seen["losses"])
        self.progress.take(seen["progress"])
        self.vectors.n_collapsed, self.vectors.n_dead = seen["in_a_row"]["n_collapsed"], seen["in_a_row"]["n_dead"]
        self.dealing.n_validations = len(self.progress.scores)

    def saw_loss(self, loss: Tensor, terms: Mapping[str, Tensor]) -> None:
        """Takes the loss of a step, and its parts by name; waits for nothing."""
        if self.is_between:
            self.notes.epoch, self.is_between = self.notes.epoch + 1, False
        self.losses.add(loss, terms)

    @property
    def _looks(self) -> bool:
        return self.n_updates < self.plan.n_done + FIRST_LOOKS or self.n_updates % EVERY == 0

    def before_update(self) -> None:
        """Looks at gradients, and notes weights, at some steps of the optimiser."""
        if self._looks:
            self.gradients.look()
            self.movement.note_before()

    def after_update(self) -> None:
        """Compares the weights that were noted."""
        if self._looks:
            self.movement.note_after(self.n_updates)
        self.n_updates += 1

    def read(self) -> None:
        """Reads what was looked at since the last time: waits for the device, where the trainer does so anyway."""
        losses = self.losses.read()
        if np.isfinite(losses).all():
            self.gradients.read(self.n_updates, self.losses.is_rising)
            self.movement.read(self.n_updates)

    def not_finite(self, loss: float) -> str:
        """Why the loss is ``loss``, which is no number: the first such step, and what is broken."""
        n_before = self.losses.n_steps
        broken = np.flatnonzero(~np.isfinite(self.losses.read()))
        step = f" at step {n_before + broken[0]}, epoch {self.notes.epoch}" if len(broken) else ""
        return f"the training loss is {loss}{step}: {why_not_finite(self.model, self.tower, self.plan.tokens)}"

    def after_epoch(self, epoch: int, loss: float) -> None:
        """Takes the sum of an epoch's losses."""
        self.notes.epoch, self.is_between = epoch, True
        self.progress.add_loss(loss, self.n_updates)

    def after_validation(self, score: float, table: Tensor | None) -> None:
        """Takes the score of a validation, and the table of item vectors, (N, D), that it ranked by."""
        self.progress.add_score(score, self.n_updates)
        if table is not None:
            self.vectors.look(table, ranks=not self.progress.is_weak)
        if hasattr(self.tower, "encode_items") and self.notes.speaks:  # of several ranks, one encodes for it
            self.dealing.look(self.tower)

    def end(self, is_exhausted: bool) -> None:
        """Looks back on the run, and lets go of the optimiser."""
        self.progress.end(self.n_updates, is_exhausted)
        for hook in self.hooks:
            hook.remove()


def advice_without_looking(loss: float) -> str:
    """What to say of a loss that is no number where nobody looked."""
    return f"the training loss is {loss}; {ADVICE}"

"""Gradients as the optimiser meets them: whether they reach the encoders, and whether they explode."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn

from recbole_pixel.health.notes import Notes
from recbole_pixel.health.parts import ENCODER, named

ENOUGH = 5
"""Looks before an encoder is said to get no gradient: at the first steps some are zero rightly, such as those behind a
residual branch or an adapter that starts at zero."""

EXPLODED = 100.0
"""Times the median of the looks before. Norms grow tenfold in healthy runs, as vectors leave the neighbourhood of zero
that they start in; the loss has to rise as well before anything is said."""


class Gradients:
    """Norms of the gradients of every parameter, at some steps.

    Args:
        notes: where to tell.
        parts: parameters that learn, by part and name.
    """

    def __init__(self, notes: Notes, parts: Mapping[str, Mapping[str, nn.Parameter]]) -> None:
        self.notes, self.parts = notes, parts
        self.parameters = {name: parameter for own in parts.values() for name, parameter in own.items()}
        self.waiting: list[tuple[list[str], Tensor]] = []
        self.reached: set[str] = set()
        self.norms: list[float] = []
        self.n_looks = 0

    @torch.no_grad()
    def look(self) -> None:
        """Takes the norms of the gradients as they are now; waits for nothing."""
        there = {name: own.grad for name, own in self.parameters.items() if own.grad is not None}
        dense = {name: gradient for name, gradient in there.items() if not gradient.is_sparse}
        self.reached.update(there.keys() - dense.keys())
        if dense:
            norms = torch._foreach_norm(list(dense.values()))
            self.waiting.append((list(dense), torch.stack([norm.float() for norm in norms])))
        self.n_looks += 1

    def read(self, step: int, loss_rises: bool) -> None:
        """Reads what was looked at and tells what it shows.

        Args:
            step: the optimiser's, for the note.
            loss_rises: whether the loss lies above what it was.
        """
        if not self.waiting:
            return
        norms = torch.cat([norms for _, norms in self.waiting]).cpu().numpy()
        parts = np.split(norms, np.cumsum([len(names) for names, _ in self.waiting])[:-1])
        for (names, _), own in zip(self.waiting, parts, strict=True):
            self.reached.update(name for name, norm in zip(names, own, strict=True) if norm != 0)
        self.waiting = []
        self._compare([float(np.sqrt(np.square(own.astype(float)).sum())) for own in parts], step, loss_rises)
        if self.n_looks >= ENOUGH:
            self._tell_unreached(step)

    def _compare(self, now: list[float], step: int, loss_rises: bool) -> None:
        before, self.norms = self.norms, [*self.norms, *now]
        if len(before) < ENOUGH or not loss_rises:
            return
        usual = median(before)
        if 0 < usual < median(now) / EXPLODED:
            self.notes.tell(
                "gradients_explode",
                f"the gradient's norm is {median(now):.3g}, {median(now) / usual:.0f} times what it was ({usual:.3g}), "
                f"and the loss rises: clip gradients (clip_grad_norm: {{max_norm: 1.0}}), lower learning_rate or "
                f"encoder_learning_rate, or set warmup_steps",
                step,
            )

    def _tell_unreached(self, step: int) -> None:
        for part, own in self.parts.items():
            if not part.startswith(ENCODER):
                continue
            dead = {name: parameter for name, parameter in own.items() if name not in self.reached}
            share = sum(map(_size, dead.values())) / sum(map(_size, own.values()))
            if share >= 0.5:
                self.notes.tell(
                    "no_gradient",
                    f"{100 * share:.0f}% of the parameters of {part} that should learn have had no gradient in "
                    f"{self.n_looks} looks, e.g. {named(dead)}: what is computed from them does not reach the loss. "
                    f"Look for a detach() or a no_grad() between the encoder and the loss; or let it be frozen "
                    f"(tune: frozen), which costs less",
                    step,
                )


def _size(parameter: nn.Parameter) -> int:
    return parameter.numel()

"""The course of a run: whether anything is learnt, and whether there was more to come."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from recbole_pixel.health.notes import HINT, Notes

STEADY = 5e-4
"""Share by which the losses of all epochs differ at most where nothing is learnt: other batches alone make more, and
the first epochs of any run that learns fall by per cents."""

EPOCHS = 3
"""Before the loss is said to be constant."""

STEPS = 100
"""Of the optimiser, before anything is said of what was learnt: in tiny worlds ten epochs are fewer."""

VALIDATIONS = 5
"""Before a metric is compared with chance: real catalogues leave it in the first or second."""

LONGER = 10
"""Before it is compared with popularity, which some models pass late; fewer at the end of a run, if it had five."""


def chance_of(metric: str, n_items: int, n_users: int) -> float | None:
    """The least value that tells a ranking from a random one: chance, and two deviations of it over the users.

    Args:
        metric: such as ``ndcg@10``; of one target each.
        n_items: that are ranked.
        n_users: rankings that the metric is a mean of.

    Returns:
        None where the metric is another than recall, hit, ndcg and mrr, or users are too few to tell: five would have
        to be hit by chance.
    """
    name, _, cut = metric.lower().partition("@")
    gains: dict[str, Callable[[int], float]] = {
        "recall": lambda rank: 1.0,
        "hit": lambda rank: 1.0,
        "ndcg": lambda rank: 1 / math.log2(rank + 1),
        "mrr": lambda rank: 1 / rank,
    }
    if name not in gains or not cut.isdigit() or n_items < 1:
        return None
    values = [gains[name](rank) for rank in range(1, min(int(cut), n_items) + 1)]
    if n_users * len(values) / n_items < 5:
        return None
    mean = sum(values) / n_items
    deviation = math.sqrt((sum(value * value for value in values) / n_items - mean * mean) / n_users)
    return mean + 2 * deviation


class Progress:
    """Losses of epochs and scores of validations.

    Args:
        notes: where to tell.
        metric: that decides, such as ``ndcg@10``.
        bigger: whether more of it is better.
        chance: see :func:`chance_of`.
        popularity: scores popularity by the same metric, when it is asked for; None where it cannot.
        is_control: whether inputs were dealt out at random: that such a run learns little is what it is for.
    """

    def __init__(
        self,
        notes: Notes,
        metric: str,
        bigger: bool,
        chance: float | None,
        popularity: Callable[[], float | None],
        is_control: bool,
    ) -> None:
        self.notes, self.metric, self.bigger, self.chance = notes, metric, bigger, chance
        self.popularity, self.is_control = popularity, is_control
        self.usual: float | None = None
        self.losses: list[float] = []
        self.scores: list[float] = []

    def plain(self) -> dict[str, Any]:
        """The losses and scores so far, as plain values."""
        return {"losses": list(self.losses), "scores": list(self.scores), "usual": self.usual}

    def take(self, seen: Mapping[str, Any]) -> None:
        """Goes on from what :meth:`plain` gave, also of a run that had ended."""
        self.notes.withdraw("ended_while_improving")
        self.losses, self.scores, self.usual = list(seen["losses"]), list(seen["scores"]), seen["usual"]

    def add_loss(self, loss: float, n_steps: int) -> None:
        """Takes the loss of an epoch, after ``n_steps`` steps of the optimiser in all."""
        self.losses.append(loss)
        least, most = min(self.losses), max(self.losses)
        if len(self.losses) >= EPOCHS and n_steps >= STEPS and most - least <= STEADY * abs(most):
            self.notes.tell(
                "loss_is_constant",
                f"the training loss has not moved in {len(self.losses)} epochs ({least:.6g} to {most:.6g}): "
                f"nothing is learnt. Raise learning_rate or encoder_learning_rate, and see that warmup_steps is not "
                f"longer than the run",
            )

    def add_score(self, score: float, n_steps: int) -> None:
        """Takes the score of a validation, after ``n_steps`` steps of the optimiser."""
        self.scores.append(score)
        if n_steps >= STEPS and len(self.scores) >= VALIDATIONS:
            self._compare_with_chance()
        if n_steps >= STEPS and len(self.scores) >= LONGER and self.usual is None:
            self._compare_with_popularity()

    @property
    def is_weak(self) -> bool:
        """Whether the run was found to rank no better than chance or popularity."""
        return "not_above_chance" in self.notes or "not_above_popularity" in self.notes

    @property
    def best(self) -> float:
        """The best score so far."""
        return max(self.scores) if self.bigger else min(self.scores)

    def end(self, n_steps: int, is_exhausted: bool) -> None:
        """Looks back on the run, of ``n_steps`` steps; ``is_exhausted`` says that ``epochs`` ended it."""
        if len(self.scores) < VALIDATIONS or n_steps < STEPS:
            return
        self._compare_with_chance()
        self._compare_with_popularity()
        if is_exhausted and self.scores[-1] == self.best and self.best not in self.scores[:-1]:
            self.notes.tell(
                "ended_while_improving",
                f"the last epoch was the best ({self.metric} {self.best:.4g}): raise epochs, stopping_step will end "
                f"the run",
                level=HINT,
            )

    def _compare_with_chance(self) -> None:
        if self.chance is None or self.is_control or not self.bigger:
            return
        if self.best > self.chance:
            self.notes.withdraw("not_above_chance")
            return
        self.notes.tell(
            "not_above_chance",
            f"after {len(self.scores)} validations {self.metric} is {self.best:.4g} at best, and a random ranking may "
            f"reach {self.chance:.4g}: nothing is learnt that ranks. Raise learning_rate or encoder_learning_rate, and "
            f"see that interactions are in order (timestamp) and items have pictures of their own",
        )

    def _compare_with_popularity(self) -> None:
        if self.is_control or not self.bigger or "not_above_chance" in self.notes:
            return
        if self.usual is None:
            self.usual = self.popularity()
        if self.usual is None or self.best > self.usual:
            self.notes.withdraw("not_above_popularity")  # noted at the 10th validation, passed since
            return
        self.notes.tell(
            "not_above_popularity",
            f"after {len(self.scores)} validations {self.metric} is {self.best:.4g} at best, and the most popular "
            f"items for everybody reach {self.usual:.4g}. Train longer (epochs, stopping_step), raise learning_rate or "
            f"encoder_learning_rate, and compare with the ID twin (item_tower: id)",
        )

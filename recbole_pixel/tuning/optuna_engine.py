"""Searches by Optuna: TPE, at random, or a grid; trials that fall behind the others' median are stopped."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

from recbole_pixel.tuning.space import Choice, Dimension, LogUniform, Space, Steps, as_grid, settings_at
from recbole_pixel.tuning.trials import STOPPED, Spent, Trials

WARM_UP = 5
"""Epochs that no trial is stopped in: slow learners begin behind."""

NEEDED = "--engine optuna needs Optuna: pip install 'recbole-pixel[tune]'"


def search(space: Space, trials: Trials, sampler: str, seed: int, bigger: bool, stops_early: bool) -> None:
    """Makes trials until the budget is used up, or all points of a grid are.

    Args:
        space: what to choose from.
        trials: what makes them.
        sampler: ``tpe``, ``random`` or ``grid``.
        seed: of the sampler.
        bigger: whether more of the score is better.
        stops_early: stop trials whose best validation so far is behind the median of earlier ones at that epoch.

    Raises:
        ImportError: Optuna is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ImportError(NEEDED) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it tells of each trial that failed
    space = as_grid(space) if sampler == "grid" else space
    study = optuna.create_study(
        direction="maximize" if bigger else "minimize",
        sampler=_sampler(optuna, space, sampler, seed),
        pruner=optuna.pruners.MedianPruner(n_warmup_steps=WARM_UP) if stops_early else optuna.pruners.NopPruner(),
    )
    with suppress(Spent):
        study.optimize(partial(_try_one, optuna, space, trials), catch=(_FailedError,))


class _FailedError(Exception):
    """Tells Optuna that a trial has no score."""


def _sampler(optuna: Any, space: Space, name: str, seed: int) -> Any:
    if name == "grid":
        indices = {key: list(range(len(one.values))) for key, one in space.items() if isinstance(one, Choice)}
        return optuna.samplers.GridSampler(indices, seed=seed)
    return {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}[name](seed=seed)


def _try_one(optuna: Any, space: Space, trials: Trials, asked: Any) -> float:
    """Optuna's objective: the score of what it asks for."""

    told: set[int] = set()  # a kept trial that goes on behind where it was stopped tells its beginning again

    def report(epoch: int, score: float) -> bool:
        if epoch not in told:
            asked.report(score, epoch)
        told.add(epoch)
        return asked.should_prune()

    point = {name: _suggested(asked, name, dimension) for name, dimension in space.items()}
    made = trials.make(settings_at(space, point), report)
    if made.state == STOPPED:
        raise optuna.TrialPruned
    if made.score is None:
        raise _FailedError(made.why)
    return made.score


def _suggested(asked: Any, name: str, dimension: Dimension) -> float:
    if isinstance(dimension, Choice):
        return asked.suggest_categorical(name, list(range(len(dimension.values))))
    if isinstance(dimension, Steps):
        return asked.suggest_int(name, dimension.counts[0], dimension.counts[-1]) * dimension.step
    return asked.suggest_float(name, dimension.low, dimension.high, log=isinstance(dimension, LogUniform))

"""Searches by RecBole's HyperTuning, which is hyperopt: TPE, at random, or all points of a grid."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from io import StringIO
from typing import Any

from recbole_pixel.tuning.space import Choice, Space, Steps, Uniform, as_grid, settings_at
from recbole_pixel.tuning.trials import Spent, Trials

ALGORITHMS = {"tpe": "bayes", "random": "random", "grid": "exhaustive"}
NEEDED = "--engine hyperopt needs hyperopt: pip install 'recbole-pixel[tune]'"
SEED = "HYPEROPT_FMIN_SEED"
WORST = 1e9
"""Loss of a trial that failed: hyperopt wants a finite one."""


def search(space: Space, trials: Trials, sampler: str, seed: int, bigger: bool, n_trials: int | None) -> None:
    """Makes trials until the budget is used up, or all points of a grid are.

    Args:
        space: what to choose from.
        trials: what makes them.
        sampler: ``tpe``, ``random`` or ``grid``.
        seed: of the search.
        bigger: whether more of the score is better.
        n_trials: at most so many.

    Raises:
        ImportError: hyperopt is not installed.
    """
    try:
        import hyperopt  # noqa: F401 - RecBole imports it when a search begins
    except ImportError as error:
        raise ImportError(f"{NEEDED} ({error})") from error
    from recbole.trainer import HyperTuning

    space = as_grid(space) if sampler == "grid" else space

    def objective(point: dict[str, Any], files: Any) -> dict[str, Any]:
        made = trials.make(settings_at(space, point), lambda epoch, score: False)
        score = made.score if made.score is not None else -WORST if bigger else WORST
        return {
            "model": trials.search.entry.model, "best_valid_score": score, "valid_score_bigger": bigger,
            "best_valid_result": {}, "test_result": {},
        }  # fmt: skip

    n_most = n_trials if n_trials is not None else 10**6  # a budget in seconds ends it
    tuning = HyperTuning(
        objective, params_dict=_for_recbole(space), algo=ALGORITHMS[sampler], max_evals=n_most, early_stop=n_most + 1
    )
    with suppress(Spent), _seeded(seed), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        tuning.run()


def _for_recbole(space: Space) -> dict[str, dict[str, Any]]:
    """The space as HyperTuning's ``params_dict``; of choices the indices, as hyperopt makes tuples of lists."""
    kinds: dict[str, dict[str, Any]] = {}
    for name, one in space.items():
        if isinstance(one, Choice):
            kinds.setdefault("choice", {})[name] = list(range(len(one.values)))
        elif isinstance(one, Steps):
            kinds.setdefault("quniform", {})[name] = [one.low, one.high, one.step]
        elif isinstance(one, Uniform):
            kinds.setdefault("uniform", {})[name] = [one.low, one.high]
        else:
            kinds.setdefault("loguniform", {})[name] = [math.log(one.low), math.log(one.high)]
    return kinds


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """HyperTuning hands no seed on; hyperopt reads one from the environment."""
    before = os.environ.get(SEED)
    os.environ[SEED] = str(seed)
    try:
        yield
    finally:
        if before is None:
            del os.environ[SEED]
        else:
            os.environ[SEED] = before

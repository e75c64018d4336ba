"""The evaluation that a run ends with: metrics, and what lies behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from recbole_pixel.config_files import SettingError
from recbole_pixel.distributed import is_first
from recbole_pixel.evaluation.cold import rank_cold
from recbole_pixel.evaluation.cold_cases import cold_cases
from recbole_pixel.evaluation.cold_mask import calibration_of
from recbole_pixel.evaluation.cold_trade_off import trade_off
from recbole_pixel.evaluation.per_user import PerUser, per_user_results, write_per_user
from recbole_pixel.evaluation.popularity import bucket_starts, by_popularity
from recbole_pixel.evaluation.recording import USER, recording


def check_buckets(config: Any) -> None:
    """Refuses ``popularity_buckets`` that are none, before anything is trained.

    Raises:
        SettingError: says what was expected.
    """
    try:
        if config["popularity_buckets"] is not None:
            bucket_starts(np.zeros(0, np.int64), config["popularity_buckets"])
    except ValueError as error:
        raise SettingError(str(error)) from error


def evaluate_test(
    trainer: Any, test: Any, training: Any, load_best_model: bool, tell: Callable[[PerUser], None] | None = None
) -> dict[str, Any]:
    """Metrics of the test part, and of the cold items where there are any.

    Where ``per_user`` names a file, the first rank writes every user's and every target's results into it.

    Args:
        trainer: of RecBole, masking histories.
        test: the loader of the test part.
        training: the dataset of the training rows, which says how popular a target was, and which items are cold.
        load_best_model: whether the best epoch's checkpoint is evaluated.
        tell: given each user's and each target's results, where the metrics rank items.

    Returns:
        ``test``, metric to value; ``popularity``, see :func:`~recbole_pixel.evaluation.popularity.by_popularity`,
        unless ``popularity_buckets`` is ~ or the metrics rank no items; ``cold``, how many
        cold items there are and :class:`~recbole_pixel.evaluation.cold.ColdRanks` in short, where items were held out.

    Raises:
        SettingError: ``per_user`` is set, and no metric ranks items.
    """
    config = trainer.config
    with recording(trainer) as recorded:
        scores = trainer.evaluate(test, load_best_model=load_best_model, show_progress=False)
    found: dict[str, Any] = {"test": {name: float(value) for name, value in (scores or {}).items()}}
    each = _each(recorded.get("struct"), config, training)
    if each is not None and tell is not None:
        tell(each)
    if each is not None and config["popularity_buckets"] is not None:
        found["popularity"] = by_popularity(each.counts, each.ranks, config["topk"], config["popularity_buckets"])
    cases: dict[str, np.ndarray] = {}
    if getattr(training, "cold", None) is not None:
        calibration = calibration_of(config, training.cold)
        ranks = rank_cold(trainer.model, training, trainer.device, calibration=calibration)
        found["cold"] = {
            "n_items": int(training.cold.is_cold.sum()),
            **ranks.summary(),
            "calibration": calibration.kind,
            "offset": calibration.offset,
            "trade_off": trade_off(trainer, test, calibration, ranks.by_offset),
        }
        cases = cold_cases(ranks, training)._asdict()
    if each is not None and config["per_user"] and is_first():
        write_per_user(each, config["per_user"], **cases)
    return found


def _each(struct: Any, config: Any, training: Any) -> PerUser | None:
    """What was recorded, one by one; None where the metrics rank no items, or nothing was evaluated."""
    if struct is not None and USER in struct:
        return per_user_results(struct, config, training)
    if struct is not None and config["per_user"]:
        raise SettingError(f"per_user asks how targets rank; the metrics {config['metrics']} rank no items")
    return None

"""An evaluation's results one by one: each user's metrics, each target's rank."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from recbole.evaluator.base_metric import TopkMetric
from recbole.evaluator.register import metrics_dict

from recbole_pixel.evaluation.recording import TARGET_COUNT, TARGET_ITEM, TARGET_RANK, USER
from recbole_pixel.evaluation.training_counts import training_counts
from recbole_pixel.store.new_file import new_file


class PerUser(NamedTuple):
    """What an evaluation found, ranking by ranking.

    A ranking is of a user; sequential models rank for each target apart, so that a user with several of them (a split
    by ratio) stands there several times.

    Attributes:
        users: token of each ranking's user, (U,).
        metrics: value of each ranking, float32 (U,), by the name of the reported metric, which is their mean.
        target_user: the ranking of each target, an index into ``users``, int64 (T,).
        targets: token of each item that was to be found, (T,).
        ranks: its rank, from 1, int32 (T,); 0 where it is beyond the largest cut-off.
        counts: how often it was consumed in the training part, int64 (T,).
    """

    users: np.ndarray
    metrics: dict[str, np.ndarray]
    target_user: np.ndarray
    targets: np.ndarray
    ranks: np.ndarray
    counts: np.ndarray

    def by_user(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """Distinct users, sorted, and the mean of each one's values: (V,) and float64 (V,)."""
        users, place = np.unique(self.users, return_inverse=True)
        return users, np.bincount(place, self.metrics[metric]) / np.bincount(place)


def per_user_results(recorded: Any, config: Any, training: Any) -> PerUser:
    """What was recorded of an evaluation, by tokens.

    Args:
        recorded: see :func:`~recbole_pixel.evaluation.recording.recording`.
        config: RecBole's; its top-k metrics have values by user.
        training: the dataset of the training rows.
    """
    users, counts, items, ranks = (
        recorded.get(name).numpy() for name in (USER, TARGET_COUNT, TARGET_ITEM, TARGET_RANK)
    )
    user_tokens, item_tokens = (training.field2id_token[field] for field in (training.uid_field, training.iid_field))
    return PerUser(
        users=np.asarray(user_tokens)[users].astype(str),
        metrics=_values(recorded, config),
        target_user=np.repeat(np.arange(len(users), dtype=np.int64), counts),
        targets=np.asarray(item_tokens)[items].astype(str),
        ranks=ranks.astype(np.int32),
        counts=training_counts(training)[items],
    )


def _values(recorded: Any, config: Any) -> dict[str, np.ndarray]:
    """Each top-k metric's values before RecBole takes their mean: what it hands to ``topk_result`` to do so."""
    found: dict[str, np.ndarray] = {}

    def keep(metric: str, values: np.ndarray) -> dict[str, float]:
        found.update({f"{metric}@{k}": values[:, k - 1].astype(np.float32) for k in config["topk"]})
        return {}

    for name in config["metrics"]:
        metric = metrics_dict[name.lower()](config)
        if isinstance(metric, TopkMetric):
            metric.topk_result = keep
            metric.calculate_metric(recorded)
    return found


FIELDS = ("user", "target_user", "target", "target_rank", "target_count")


def write_per_user(found: PerUser, path: str | Path, **more: np.ndarray) -> None:
    """Writes results, and ``more`` arrays beside them, as an .npz without pickles; under a temporary name first."""
    fields = dict(zip(FIELDS, (found.users, found.target_user, found.targets, found.ranks, found.counts), strict=True))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with new_file(partial) as stream:
        np.savez_compressed(stream, allow_pickle=False, **fields, **found.metrics, **more)
    partial.replace(path)


def read_per_user(path: str | Path) -> PerUser:
    """Results that :func:`write_per_user` wrote.

    Raises:
        ValueError: the file holds something else, or is torn.
    """
    try:
        return _read(path)
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} cannot be read as results one by one: {error}") from error


def _read(path: str | Path) -> PerUser:
    with np.load(path, allow_pickle=False) as stored:
        missing = [name for name in FIELDS if name not in stored]
        if missing:
            raise ValueError(f"{path} has no {missing[0]!r}; expected a file that the setting per_user wrote")
        metrics = {name: stored[name] for name in stored if "@" in name}
        users, target_user, targets, ranks, counts = (stored[name] for name in FIELDS)
    return PerUser(users, metrics, target_user, targets, ranks, counts)

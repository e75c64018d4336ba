"""How often items were consumed in the training part: the same numbers for every kind of model."""

from __future__ import annotations

from typing import Any

import numpy as np

from recbole_pixel.data.rows import user_starts


def training_counts(dataset: Any) -> np.ndarray:
    """Interactions of each item in the training part, those of validation and test left out: int64, (N,), by id.

    A user's first interaction is never a target of sequential models, yet all of them may read it: it counts.

    Args:
        dataset: the training part, of any kind: rows with a target and a history, or pairs.
    """
    items = _targets(dataset)
    histories = getattr(dataset, "histories", None)
    if histories is not None and hasattr(dataset, "item_id_list_field"):
        is_first = user_starts(histories.users) == np.arange(len(histories.users))
        is_first &= np.bincount(histories.users)[histories.users] > 1  # who has but one is in no row
        items = np.append(items, histories.items[np.flatnonzero(is_first)])
    return np.bincount(items, minlength=dataset.item_num).astype(np.int64)


def _targets(dataset: Any) -> np.ndarray:
    """Item ids of the rows, (R,); our sequential rows are not made for that."""
    if hasattr(dataset, "target_runs"):
        return dataset.histories.items[dataset.targets]
    return dataset.inter_feat[dataset.iid_field].numpy()

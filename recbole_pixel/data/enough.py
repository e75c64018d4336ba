"""Whether the interactions are enough to train and to evaluate on, before a sampler fails on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_NEEDED = "; leave-one-out needs 4 interactions of a user for a validation target, and 3 for a test target"


def check_parts(dataset: Any, parts: Sequence[Any]) -> None:
    """Refuses what nothing can be trained on, and tells of what nothing can be evaluated on.

    Args:
        dataset: the whole.
        parts: training, validation and test dataset, as RecBole splits it.

    Raises:
        ValueError: the training part is empty.
    """
    name, n_rows = f"{dataset.dataset_name}.inter", [len(part) for part in parts]
    if not n_rows[0]:
        raise ValueError(
            f"{name} leaves nothing to train on: {dataset.user_num - 1:,} users, {dataset.item_num - 1:,} items, and "
            f"no user with two interactions one of which is to be foretold from the other; see the filters "
            f"(user_inter_num_interval, val_interval, cold_items, ...)"
        )
    empty = [part for part, n in zip(("validation", "test"), n_rows[1:], strict=False) if not n]
    split = dataset.config["eval_args"]["split"]
    wanted = [part for part in empty if part in _asked_for(split)]
    if wanted:
        dataset.logger.warning(
            f"{name} has no {' and no '.join(wanted)} targets, so that nothing is measured on them"
            + (_NEEDED if "LS" in split else "")
        )


def _asked_for(split: dict[str, Any]) -> list[str]:
    """The parts that a split is to make besides training."""
    if split.get("RS"):
        return [part for part, share in zip(("validation", "test"), split["RS"][1:], strict=False) if share]
    return [part for part in ("validation", "test") if part[:5] in (split.get("LS") or "")]

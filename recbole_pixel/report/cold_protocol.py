"""Items held out by several splits fixed in advance: the runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recbole_pixel.report.ablation import OF_MODALITIES, planned_runs
from recbole_pixel.report.runs import Run

SHARE = 0.1  # of the items, held out by default
ROWS = ("id", "image", "image shuffled")


def planned_splits(
    model: str, splits: Sequence[int], settings: Mapping[str, Any], rows: Sequence[str] | None = None
) -> list[Run]:
    """The runs: every row on every split; a split's number is its runs' seed, too.

    Args:
        model: with item towers, or ``PixRec``.
        splits: their numbers.
        settings: of all runs; a tenth of the items is cold unless they say otherwise.
        rows: labels; by default pictures, shuffled pictures and, where the model has it, the ID twin.

    Raises:
        ValueError: a row is not known, has nothing to do with cold items, or a setting is what the splits say.
    """
    for key in ("cold_split", "seed"):
        if key in settings:
            raise ValueError(f"--{key} is given; here --splits says which items are held out, and the seeds")
    if rows is None:
        rows = [row for row in ROWS if model != "PixRec" or row in OF_MODALITIES]
    baselines = [row for row in rows if row in ("Pop", "RepeatLast")]
    if baselines:
        raise ValueError(f"{baselines[0]} knows nothing of items that nobody consumed; choose other rows")
    planned = planned_runs(model, splits, {"cold_items": SHARE, **settings}, rows)
    return [run._replace(settings={**run.settings, "cold_split": run.seed}) for run in planned]

"""What each kind of input tells a model: text alone, pictures alone, both, and either of them dealt out at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from recbole_pixel.report.chances import times_chance
from recbole_pixel.report.runs import Run, spread
from recbole_pixel.result_table import markdown_table

PICTURES, TEXTS = {"shuffle_images": True}, {"shuffle_texts": True}

OF_TOWERS: dict[str, dict[str, Any]] = {
    "id": {"item_tower": "id"},
    "text": {"item_tower": "text"},
    "text shuffled": {"item_tower": "text", **TEXTS},
    "image": {"item_tower": "image"},
    "image shuffled": {"item_tower": "image", **PICTURES},
    "image + text": {"item_tower": "image_text"},
    "image + text, pictures shuffled": {"item_tower": "image_text", **PICTURES},
    "image + text, text shuffled": {"item_tower": "image_text", **TEXTS},
}
FURTHER: dict[str, dict[str, Any]] = {
    "image + own vectors": {"item_tower": "image", "own_vectors": True},
    "image + own vectors, pictures shuffled": {"item_tower": "image", "own_vectors": True, **PICTURES},
    "features + own vectors": {"item_tower": "features", "own_vectors": True},
    "features + own vectors, features shuffled": {"item_tower": "features", "own_vectors": True, **PICTURES},
}
"""Rows of item towers that are run where they are named."""

OF_MODALITIES: dict[str, dict[str, Any]] = {
    "text": {"modalities": ["text"]},
    "text shuffled": {"modalities": ["text"], **TEXTS},
    "image": {"modalities": ["image"]},
    "image shuffled": {"modalities": ["image"], **PICTURES},
    "image + text": {"modalities": ["text", "image"]},
    "image + text, pictures shuffled": {"modalities": ["text", "image"], **PICTURES},
    "image + text, text shuffled": {"modalities": ["text", "image"], **TEXTS},
}
BASELINES = ("Pop", "RepeatLast")


def planned_runs(
    model: str, seeds: Sequence[int], settings: Mapping[str, Any], only: Sequence[str] | None = None
) -> list[Run]:
    """The runs of a table, the baselines' last.

    Args:
        model: with item towers, or ``PixRec``.
        seeds: every row is run with each.
        settings: of all runs.
        only: labels of the rows; all but those of :data:`FURTHER` by default.

    Raises:
        ValueError: a label is not known.
    """
    variants = OF_MODALITIES if model == "PixRec" else OF_TOWERS
    further = {} if model == "PixRec" else FURTHER
    known = [*variants, *further, *BASELINES]
    unknown = [label for label in only or () if label not in known]
    if unknown:
        raise ValueError(f"there is no row {unknown[0]!r}; the rows of {model} are {', '.join(known)}")
    rows = [(label, model, own) for label, own in variants.items()]
    if not settings.get("cold_items"):  # which holds items out of training: these have no item tower
        rows += [(name, name, {}) for name in BASELINES]
    rows += [(label, model, own) for label, own in further.items() if only is not None]
    chosen = [row for row in rows if only is None or row[0] in only]
    return [Run(label, name, seed, {**settings, **own, "seed": seed}) for seed in seeds for label, name, own in chosen]


def ablation_table(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """A line a row: each metric's mean over seeds with its deviation, cold items' hits, parameters, seconds.

    Args:
        results: runs of each row, by its label; none where they failed.
    """
    entries = [entry for runs in results.values() for entry in runs]
    metrics = list(entries[0]["test"]) if entries else []
    is_cold = any("cold" in entry for entry in entries)
    head = ["", *metrics, *(["cold hit@10", "x chance"] if is_cold else []), "trained", "seconds"]
    rows = [head]
    for label, runs in results.items():
        if not runs:
            rows.append([label, "failed", *[""] * (len(head) - 2)])
            continue
        cells = [spread([entry["test"][name] for entry in runs]) for name in metrics]
        if is_cold:
            among = [entry["cold"]["cold"] for entry in runs if "cold" in entry]
            hits = [cold["hit@10"] for cold in among if cold["hit@10"] is not None]
            cells += [spread(hits), times_chance(among)]
        trained = f"{runs[0]['parameters']['trained']:,}"
        rows.append([label, *cells, trained, f"{mean(entry['seconds'] for entry in runs):.0f}"])
    return markdown_table(rows)

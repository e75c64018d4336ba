"""Items held out by several splits fixed in advance: what each kind of input knows of them, beside its control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any, NamedTuple

from recbole_pixel.evaluation.cold_cases import ColdCases
from recbole_pixel.report.ablation import OF_MODALITIES, planned_runs
from recbole_pixel.report.cold_intervals import Interval, over_users, split_differences, t_interval
from recbole_pixel.report.runs import Run
from recbole_pixel.result_table import markdown_table

SHARE = 0.1  # of the items, held out by default
ROWS = ("id", "image", "image shuffled")
PAIRS = (
    ("text", "text shuffled"),
    ("image", "image shuffled"),
    ("image + text", "image + text, pictures shuffled"),
    ("image + text", "image + text, text shuffled"),
    ("image + text", "text"),
    ("image + text", "image"),
    ("text", "id"),
    ("image", "id"),
)
"""What is set against what, where both are rows."""


class SplitRun(NamedTuple):
    """A run of one split.

    Attributes:
        split: its number.
        entry: what was kept of its result.
        cases: its cold cases.
    """

    split: int
    entry: Mapping[str, Any]
    cases: ColdCases


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


def cold_report(found: Mapping[str, Sequence[SplitRun]]) -> str:
    """Two tables: how the rows do, and how they differ, with 95% intervals.

    Args:
        found: runs of each row by its label, in the order of the splits; none where they failed.
    """
    parts = [_rows_table(found), LEGEND]
    differences = _differences_table(found)
    return "\n\n".join([*parts, *([differences, DIFFERENCES_LEGEND] if differences else [])])


LEGEND = (
    "Every occurrence of a held-out item that has a history, given the items before it; means over splits, 95% "
    "intervals by the t distribution over splits. Chance: the hits of a random order. Among all: warm and cold items "
    "ranked together. Warm: the test targets, ranked among all items. Validation ranked warm items only."
)
DIFFERENCES_LEGEND = (
    "HR@10 among the cold items, the first less the second, on the same cases. Over splits: a paired t interval, "
    "splits as draws of items. Over users: a bootstrap, the splits as they are."
)


def _rows_table(found: Mapping[str, Sequence[SplitRun]]) -> str:
    head = ["", "HR@10 among cold", "95%", "x chance", "NDCG@10", "by split", "HR@10 among all", "x chance", "warm"]
    entries = [run.entry for runs in found.values() for run in runs]
    metric = next(iter(entries[0]["test"])) if entries else ""
    metric = "ndcg@10" if entries and "ndcg@10" in entries[0]["test"] else metric
    rows = [[*head[:-1], f"warm {metric}".strip()]]
    for label, runs in found.items():
        if not runs:
            rows.append([label, "failed", *[""] * (len(head) - 2)])
            continue
        cold, among_all = ([run.entry["cold"][name] for run in runs] for name in ("cold", "all"))
        hits = [one["hit@10"] for one in cold]
        rows.append(
            [
                label,
                f"{mean(hits):.4f}",
                _range(t_interval(hits)),
                f"{mean(one['hit@10'] / one['chance'] for one in cold):.2f}",
                f"{mean(one['ndcg@10'] for one in cold):.4f}",
                " ".join(f"{hit:.3f}" for hit in hits),
                f"{mean(one['hit@10'] for one in among_all):.4f}",
                f"{mean(one['hit@10'] / one['chance'] for one in among_all):.2f}",
                f"{mean(run.entry['test'][metric] for run in runs):.4f}",
            ]
        )
    return markdown_table(rows)


def _differences_table(found: Mapping[str, Sequence[SplitRun]]) -> str:
    """Pairs of rows on the splits that both were run on; empty where there are none."""
    rows = [["difference", "HR@10 among cold", "95% over splits", "95% over users", "by split"]]
    for label, other in PAIRS:
        both = _on_both(found.get(label, ()), found.get(other, ()))
        if both:
            one, two = ([run.cases for run in runs] for runs in zip(*both, strict=True))
            values = split_differences(one, two)
            shown = " ".join(f"{value:+.3f}" for value in values)
            over_splits, users = t_interval(values), over_users(one, two)
            rows.append(
                [f"{label} - {other}", f"{over_splits.mean:+.4f}", _range(over_splits, "+"), _range(users, "+"), shown]
            )
    return markdown_table(rows) if len(rows) > 1 else ""


def _on_both(one: Sequence[SplitRun], other: Sequence[SplitRun]) -> list[tuple[SplitRun, SplitRun]]:
    by_split = {run.split: run for run in other}
    return [(run, by_split[run.split]) for run in one if run.split in by_split]


def _range(interval: Interval, sign: str = "") -> str:
    return "" if interval.low is None else f"{interval.low:{sign}.4f} to {interval.high:{sign}.4f}"

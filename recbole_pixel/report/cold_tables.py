"""Tables of cold items: how rows of runs do over splits, how they differ, and what lifting cold items costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from statistics import mean
from typing import Any, NamedTuple

from recbole_pixel.evaluation.cold_cases import ColdCases
from recbole_pixel.report.chances import times_chance
from recbole_pixel.report.cold_intervals import Interval, over_users, split_differences, t_interval
from recbole_pixel.result_table import markdown_table

PAIRS = (
    ("text", "text shuffled"),
    ("image", "image shuffled"),
    ("image + own vectors", "image + own vectors, pictures shuffled"),
    ("features + own vectors", "features + own vectors, features shuffled"),
    ("image + text", "image + text, pictures shuffled"),
    ("image + text", "image + text, text shuffled"),
    ("image + text", "text"),
    ("image + text", "image"),
    ("text", "id"),
    ("image", "id"),
    ("image + own vectors", "image"),
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


def cold_report(found: Mapping[str, Sequence[SplitRun]]) -> str:
    """Tables: how the rows do, how they differ, with 95% intervals, and what lifting the cold items does.

    Runs without cases are left out of all of them, and named behind.

    Args:
        found: runs of each row by its label, in the order of the splits; none where they failed.
    """
    asked = {label: [run for run in runs if len(run.cases.cold_target)] for label, runs in found.items()}
    tables = [
        (_rows_table(found, asked), LEGEND),
        (_differences_table(asked), DIFFERENCES_LEGEND),
        (_offsets_table(asked), OFFSETS_LEGEND),
    ]
    parts = [part for table, legend in tables if table for part in (table, legend)]
    return "\n\n".join([*parts, *_left_out(found)])


def _left_out(found: Mapping[str, Sequence[SplitRun]]) -> list[str]:
    """A line about the splits without cases; none where every split has some."""
    splits = sorted({run.split for runs in found.values() for run in runs if not len(run.cases.cold_target)})
    if not splits:
        return []
    return [
        f"Left out, as no cold item was consumed behind a warm one: split {', '.join(map(str, splits))}. Other splits, "
        f"or a larger cold_items, hold out items that were."
    ]


LEGEND = (
    "Every occurrence of a held-out item that has a history, given the items before it; means over splits, 95% "
    "intervals by the t distribution over splits. Chance: the hits of a random order. Among all: warm and cold items "
    "ranked together. Warm: the test targets, ranked among all items. Validation ranked warm items only."
)
DIFFERENCES_LEGEND = (
    "HR@10 among the cold items, the first less the second, on the same cases. Over splits: a paired t interval, "
    "splits as draws of items. Over users: a bootstrap, the splits as they are."
)

OFFSETS_LEGEND = (
    "HR@10 among all items of cold and of warm targets, and their harmonic mean. Chosen: for each split, the "
    "cold_offset with the best harmonic mean on the other splits, so that no split chooses for itself."
)


def _rows_table(found: Mapping[str, Sequence[SplitRun]], asked: Mapping[str, Sequence[SplitRun]]) -> str:
    """Rows of all ``found``; their numbers are of the runs that were ``asked`` for cold items."""
    head = ["", "HR@10 among cold", "95%", "x chance", "NDCG@10", "by split", "HR@10 among all", "x chance", "warm"]
    entries = [run.entry for runs in found.values() for run in runs]
    metric = next(iter(entries[0]["test"])) if entries else ""
    metric = "ndcg@10" if entries and "ndcg@10" in entries[0]["test"] else metric
    rows = [[*head[:-1], f"warm {metric}".strip()]]
    for label, runs in asked.items():
        if not runs:
            reason = "no occurrences of cold items" if found[label] else "failed"
            rows.append([label, reason, *[""] * (len(head) - 2)])
            continue
        cold, among_all = ([run.entry["cold"][name] for run in runs] for name in ("cold", "all"))
        hits = [one["hit@10"] for one in cold]
        rows.append(
            [
                label,
                f"{mean(hits):.4f}",
                _range(t_interval(hits)),
                times_chance(cold),
                f"{mean(one['ndcg@10'] for one in cold):.4f}",
                " ".join(f"{hit:.3f}" for hit in hits),
                f"{mean(one['hit@10'] for one in among_all):.4f}",
                times_chance(among_all),
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


def _offsets_table(found: Mapping[str, Sequence[SplitRun]]) -> str:
    """Cold items as they are, and lifted by what the other splits chose; empty of fewer than two splits."""
    rows = [["", "cold_offset", "cold", "warm", "harmonic", "x cold", "x warm"]]
    for label, runs in found.items():
        curves = [curve for run in runs if (curve := run.entry["cold"].get("trade_off"))]
        if len(curves) < 2:
            continue
        chosen = [curve[_best_of([*curves[:split], *curves[split + 1 :]])] for split, curve in enumerate(curves)]
        before = [curve[0] for curve in curves]
        offsets = sorted({at["offset"] for at in chosen})
        for name, points in (("0", before), ("chosen: " + ", ".join(f"{offset:g}" for offset in offsets), chosen)):
            means = {key: mean(at[key] for at in points) for key in ("cold", "warm", "harmonic")}
            gains = [
                mean(at[key] for at in points) / (mean(at[key] for at in before) or nan) for key in ("cold", "warm")
            ]
            cells = [*(f"{value:.4f}" for value in means.values()), *(f"{gain:.2f}" for gain in gains)]
            rows.append([label, name, *cells])
    return markdown_table(rows) if len(rows) > 1 else ""


def trade_off_means(points: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Means of ``cold``, ``warm`` and ``harmonic`` over points of trade-offs."""
    return {key: mean(at[key] for at in points) for key in ("cold", "warm", "harmonic")}


def chosen_by_others(curves: Sequence[Sequence[Mapping[str, float]]]) -> list[Mapping[str, float]]:
    """The point of each split's trade-off that is best on the other splits, by the harmonic mean."""
    return [curve[_best_of([*curves[:split], *curves[split + 1 :]])] for split, curve in enumerate(curves)]


def _best_of(curves: Sequence[Sequence[Mapping[str, float]]]) -> int:
    """The place of the offset whose harmonic mean is best over ``curves``."""
    means = [mean(at["harmonic"] for at in points) for points in zip(*curves, strict=True)]
    return means.index(max(means))


def _on_both(one: Sequence[SplitRun], other: Sequence[SplitRun]) -> list[tuple[SplitRun, SplitRun]]:
    by_split = {run.split: run for run in other}
    return [(run, by_split[run.split]) for run in one if run.split in by_split]


def _range(interval: Interval, sign: str = "") -> str:
    return "" if interval.low is None else f"{interval.low:{sign}.4f} to {interval.high:{sign}.4f}"

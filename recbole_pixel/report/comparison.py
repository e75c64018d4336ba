"""Models beside each other: means over seeds, who is best, and which differ from a reference."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from recbole_pixel.evaluation.per_user import PerUser, read_per_user
from recbole_pixel.report.significance import LEVEL, Paired, compare_paired, holm
from recbole_pixel.report.tested import per_user_file, user_means

BEST = "best"
"""Stands for the model that is best in the comparison's metric, as a reference."""

TESTS = ("t", "wilcoxon")


class Row(NamedTuple):
    """A model of a comparison.

    Attributes:
        label: what it is called.
        entries: results, by seed; none where all of its runs failed.
        failures: what was wrong, by seed.
    """

    label: str
    entries: dict[int, dict[str, Any]]
    failures: dict[int, str]

    def values(self, metric: str) -> list[float]:
        """Of each seed."""
        return [entry["test"][metric] for entry in self.entries.values()]


class Difference(NamedTuple):
    """How a model differs from the reference, with corrected p-values.

    Attributes:
        label: the model.
        metric: name.
        paired: the tests.
        t: corrected p-value of the t-test.
        wilcoxon: corrected p-value of Wilcoxon's test.
    """

    label: str
    metric: str
    paired: Paired
    t: float
    wilcoxon: float


class Comparison:
    """What a comparison found.

    Args:
        rows: the models, in the order of the table.
        folder: where the results of the runs' users lie.
        metric: what the best model is best in; lower case.
        reference: label of the row that the others are tested against, or :data:`BEST`.
        test: one of :data:`TESTS`, whose corrected p-values count as significant below 0.05.

    Raises:
        ValueError: the metric or the reference is none of these.
    """

    def __init__(self, rows: Sequence[Row], folder: Path, metric: str, reference: str, test: str = "t") -> None:
        self.rows, self.folder, self.metric, self.test = rows, folder, metric, test
        done = [row for row in rows if row.entries]
        self.metrics = list(next(iter(done[0].entries.values()))["test"]) if done else []
        if done and metric not in self.metrics:
            raise ValueError(f"there is no metric {metric!r} in these results; they have {', '.join(self.metrics)}")
        labels = [row.label for row in rows]
        if reference not in (*labels, BEST):
            raise ValueError(f"--reference is {reference!r}; expected {BEST} or one of {', '.join(labels)}")
        self.reference = self.order(metric)[0] if reference == BEST and done else reference

    def order(self, metric: str) -> list[str]:
        """Labels of the rows that have results, the best first; means count as far as tables show them."""
        from recbole.evaluator.register import smaller_metrics

        sign = 1 if metric.partition("@")[0] in smaller_metrics else -1
        means = {row.label: sign * round(mean(row.values(metric)), 4) for row in self.rows if row.entries}
        return sorted(means, key=lambda label: means[label])

    def places(self, metric: str) -> dict[str, int]:
        """0 of the best, 1 of the second-best, ...; equal means share a place."""
        shown = {row.label: round(mean(row.values(metric)), 4) for row in self.rows if row.entries}
        distinct = list(dict.fromkeys(shown[label] for label in self.order(metric)))
        return {label: distinct.index(value) for label, value in shown.items()}

    @cached_property
    def differences(self) -> list[Difference]:
        """Of every other model from the reference, in each metric that users have values of."""
        found = {row.label: self._files(row) for row in self.rows}
        reference = found.get(self.reference, {})
        metrics = list(next(iter(reference.values())).metrics) if reference else []
        others = [label for label, files in found.items() if label != self.reference and files.keys() & reference]
        return [
            entry
            for metric in metrics
            for entry in _corrected({label: _paired(found[label], reference, metric) for label in others}, metric)
        ]

    def _files(self, row: Row) -> dict[int, PerUser]:
        return {seed: read_per_user(per_user_file(self.folder, e["key"])) for seed, e in row.entries.items()}

    def is_significant(self, label: str, metric: str) -> bool:
        """Whether that model differs from the reference."""
        return any(
            getattr(entry, self.test) < LEVEL
            for entry in self.differences
            if (entry.label, entry.metric) == (label, metric)
        )


def _paired(files: dict[int, PerUser], reference: dict[int, PerUser], metric: str) -> Paired:
    seeds = [seed for seed in files if seed in reference]
    return compare_paired(
        user_means([files[seed] for seed in seeds], metric), user_means([reference[seed] for seed in seeds], metric)
    )


def _corrected(paired: dict[str, Paired], metric: str) -> list[Difference]:
    t = holm([one.t for one in paired.values()])
    wilcoxon = holm([one.wilcoxon for one in paired.values()])
    return [Difference(label, metric, one, t[i], wilcoxon[i]) for i, (label, one) in enumerate(paired.items())]


def deviation(values: Sequence[float]) -> float | None:
    """Of a sample; None where there is one value only."""
    return stdev(values) if len(values) > 1 else None

"""Lines of a plot, as numbers that a template draws as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

WIDTH, HEIGHT = 420, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 16, 34  # room for the axes' numbers


class Tick(NamedTuple):
    """A number at an axis."""

    place: float
    label: str


class Plot(NamedTuple):
    """A line with its axes, in a box of :data:`WIDTH` by :data:`HEIGHT`.

    Attributes:
        name: what it shows.
        words: the same as a sentence, for who does not see it.
        points: of the line, in the order of the epochs.
        best: the point that is marked, or None.
        best_label: what it says.
        across: ticks of the epochs.
        up: ticks of the values.
    """

    name: str
    words: str
    points: list[tuple[float, float]]
    best: tuple[float, float] | None
    best_label: str
    across: list[Tick]
    up: list[Tick]

    @property
    def line(self) -> str:
        """The points as SVG's ``polyline`` reads them."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points)

    @property
    def label_at(self) -> tuple[float, float, str]:
        """Where the mark's label stands, above it if there is room, and how SVG anchors it."""
        across, down = self.best or (0.0, 0.0)
        place = "start" if across < WIDTH * 0.3 else "end" if across > WIDTH * 0.7 else "middle"
        has_room = down > TOP + 12 and down <= min(y for _, y in self.points) + 1
        return across, down - 11 if has_room else down + 21, place


def plots_of(result: Mapping[str, Any]) -> list[Plot]:
    """The curves of loss and validation metric; those that were not recorded are left out."""
    curves, bigger = result.get("curves") or {}, result.get("valid_metric_bigger", True)
    plots = []
    if curves.get("loss"):
        plots.append(line_plot("Training loss, summed over an epoch", curves["loss"], None))
    if curves.get("valid"):
        pairs = curves["valid"]
        best = (max if bigger else min)(range(len(pairs)), key=lambda place: pairs[place][1])
        plots.append(line_plot(f"{str(result.get('valid_metric', 'metric')).upper()} in validation", pairs, best))
    return plots


def line_plot(name: str, pairs: Sequence[Sequence[float]], best: int | None) -> Plot:
    """A line through values by epoch.

    Args:
        name: of the plot.
        pairs: epoch, from 0, and value; values that are no numbers are left out.
        best: place of the pair to be marked.
    """
    known = [(int(epoch) + 1, float(value)) for epoch, value in pairs if math.isfinite(value)]
    marked = None if best is None else (int(pairs[best][0]) + 1, float(pairs[best][1]))
    if not known:
        return Plot(name, f"{name}: no numbers.", [], None, "", [], [])
    epochs, values = [epoch for epoch, _ in known], [value for _, value in known]
    up = nice_ticks(min(values), max(values))
    low, high = up[0], up[-1]

    def place(epoch: float, value: float) -> tuple[float, float]:
        across = (epoch - epochs[0]) / (epochs[-1] - epochs[0]) if len(epochs) > 1 else 0.5
        share = (value - low) / (high - low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    return Plot(
        name,
        f"{name}: {_number(values[0])} in epoch {epochs[0]}, {_number(values[-1])} in epoch {epochs[-1]}"
        + ("." if marked is None else f"; best in epoch {marked[0]}, {_number(marked[1])}."),
        [place(*pair) for pair in known],
        None if marked is None else place(*marked),
        "" if marked is None else f"epoch {marked[0]}: {_number(marked[1])}",
        [Tick(place(epoch, low)[0], str(epoch)) for epoch in _epochs(epochs[0], epochs[-1])],
        [Tick(place(epochs[0], value)[1], f"{value:.6g}") for value in up],
    )


def nice_ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers around ``low`` to ``high``, about ``wanted`` steps."""
    if high <= low:
        low, high = low - (abs(low) * 0.1 or 1.0), high + (abs(high) * 0.1 or 1.0)
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _epochs(first: int, last: int) -> list[int]:
    step = max(1, math.ceil((last - first) / 6))
    return list(range(first, last + 1, step))


def _number(value: float) -> str:
    return f"{value:.4g}"

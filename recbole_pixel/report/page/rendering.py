"""The page of a run from its template; frame, cards and colours are those of all our pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined

from recbole_pixel.report.page.contents import Contents, Row
from recbole_pixel.report.page.curves import HEIGHT, WIDTH, plots_of
from recbole_pixel.report.page.told_settings import told
from recbole_pixel.serve.page.rendering import TEMPLATES as SHARED

TEMPLATES = Path(__file__).parent / "templates"


@cache
def environment() -> Environment:
    """Our templates before those of all pages, which ``all/`` names where both have one."""
    shared = FileSystemLoader(SHARED)
    made = Environment(
        loader=ChoiceLoader([FileSystemLoader(TEMPLATES), shared, PrefixLoader({"all": shared})]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        score=lambda value: f"{value:.3f}",
        metric=lambda value: "–" if value is None else f"{value:.4f}",
        thousands=lambda value: "–" if value is None else f"{round(value):,}",
        percent=lambda value: f"{value:.2f}%",
        told=told,
        times=lambda value: {0: "never", 1: "once"}.get(value, f"{value:,} times"),
    )
    return made


def page_of(label: str, result: Mapping[str, Any], rows: Sequence[Row], contents: Contents) -> str:
    """The page, as HTML.

    Args:
        label: what the run is called.
        result: as it is kept.
        rows: of the final table.
        contents: what the model says.
    """
    settings = result.get("settings") or {}
    values: dict[str, Any] = {
        "title": f"{result['model']} on {result['dataset']}",
        "about": f"{label}; seed {result['seed']}; {result.get('date', 'date unknown')}",
        "plots": plots_of(result),
        "plot_size": (WIDTH, HEIGHT),
        "metrics": list(result["test"]),
        "settings": sorted(settings.items()),
        "changed": result.get("changed") or {},
        "buckets": bucket_rows(result),
        "best_epoch": best_epoch(result),
        "warnings": result.get("warnings") or [],
    }
    return (
        environment()
        .get_template("report.html")
        .render(**values, label=label, result=result, rows=rows, contents=contents, covers=contents.covers)
    )


def best_epoch(result: Mapping[str, Any]) -> int | None:
    """The epoch, from 1, whose validation was the best; None where none was validated."""
    pairs = (result.get("curves") or {}).get("valid") or []
    pick = max if result.get("valid_metric_bigger", True) else min
    return int(pick(pairs, key=lambda pair: pair[1])[0]) + 1 if pairs else None


def bucket_rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Popularity buckets with targets: words for the bucket, and each metric with its share of the largest."""
    buckets = [bucket for bucket in result.get("popularity") or () if bucket["targets"]]
    names = [name for name in (buckets[0] if buckets else ()) if "@" in name]
    most = {name: max(bucket[name] for bucket in buckets) or 1.0 for name in names}
    return [
        {
            "name": _bucket_name(bucket["from"], bucket["to"]),
            "targets": bucket["targets"],
            "metrics": [(name, bucket[name], 100 * bucket[name] / most[name]) for name in names],
        }
        for bucket in buckets
    ]


def _bucket_name(first: int, last: int | None) -> str:
    if first == last == 0:
        return "never"
    if last is None:
        return f"{first:,} or more"
    return f"{first:,}" if first == last else f"{first:,} to {last:,}"

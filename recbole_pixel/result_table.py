"""Results as text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any


def result_lines(result: Mapping[str, Any]) -> list[str]:
    """A run's result, for people: one line each for scores, cost and checkpoint, and the cold items'."""
    tower = f" ({result['item_tower']})" if result["item_tower"] else ""
    mask = "" if result.get("mask_history", True) else ", histories not masked"
    lines = [
        f"{result['model']}{tower} on {result['dataset']}, seed {result['seed']}{mask}",
        f"  best valid: {_scores(result['best_valid'])}",
        f"  test:       {_scores(result['test'])}",
        f"  {result['parameters']['trained']:,} parameters trained of {result['parameters']['total']:,}; "
        f"{result['epochs']} epochs, {result['seconds_per_epoch']:.1f} s each; "
        f"{result['pictures_per_epoch']:,} pictures encoded an epoch",
    ]
    lines += [_of_bucket(bucket) for bucket in result.get("popularity", ()) if bucket["targets"]]
    if "cold" in result:
        for name, among in (("all", "all items"), ("cold", "the cold ones")):
            cold = result["cold"][name]
            lines.append(
                f"  {result['cold']['cases']} occurrences of {result['cold']['n_items']} cold items, among {among}: "
                f"hit@10 {_score(cold['hit@10'])} (chance {_score(cold['chance'])}), ndcg@10 {_score(cold['ndcg@10'])}"
            )
        lines += _of_trade_off(result["cold"])
    if result["checkpoint"]:
        lines.append(f"  checkpoint: {result['checkpoint']}")
    if result.get("report"):
        lines.append(f"  report:     {result['report']}")
    return lines


def _of_bucket(bucket: Mapping[str, Any]) -> str:
    first, last = bucket["from"], bucket["to"]
    times = (
        f"{first} times or more" if last is None else f"{first} times" if first == last else f"{first} to {last} times"
    )
    scores = {name: value for name, value in bucket.items() if "@" in name}
    return f"  {bucket['targets']:,} targets consumed {times} in training: {_scores(scores)}"


def _of_trade_off(cold: Mapping[str, Any]) -> list[str]:
    """What cold and warm items hit at each ``cold_offset``."""
    found = "; ".join(f"{at['offset']:g}: {at['cold']:.4f}, {at['warm']:.4f}" for at in cold.get("trade_off", ()))
    return [f"  hit@10 among all items of cold and of warm targets, by cold_offset: {found}"] if found else []


def _scores(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in scores.items()) or "none"


def _score(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


_LINES = re.compile(r"[\r\n\v\f\x85\u2028\u2029]+")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_FORMULA = re.compile(r"[=+\-@\t\r]")


def markdown_text(text: str) -> str:
    """``text`` for a Markdown file: what would be a tag of HTML is shown."""
    return _TAG.sub("&lt;", text)


def csv_row(cells: Sequence[Any]) -> list[Any]:
    """``cells`` for a CSV file that people open; a text that spreadsheets would run as a formula gets an apostrophe."""
    return [f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell for cell in cells]


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """``rows``, the first of them the header, as a Markdown table with aligned columns; no cell ends it, or is HTML."""
    rows = [[_LINES.sub(" ", markdown_text(cell)).replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])

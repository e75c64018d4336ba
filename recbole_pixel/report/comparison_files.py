"""A comparison as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from recbole_pixel.report.comparison import Comparison, Row, deviation
from recbole_pixel.result_table import csv_row, markdown_table, markdown_text

TABLE, LATEX, NUMBERS, SIGNIFICANCE = "table.md", "table.tex", "table.csv", "significance.csv"
COST = ("trained", "s/epoch", "seconds")
TEST_NAMES = {"t": "paired t-test", "wilcoxon": "Wilcoxon signed-rank test"}


def write_comparison(comparison: Comparison, folder: Path, title: str) -> str:
    """Writes table.md, table.tex, table.csv and significance.csv into ``folder``; returns the Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    text = markdown(comparison, title)
    (folder / TABLE).write_text(text, encoding="utf-8")
    (folder / LATEX).write_text(latex(comparison, title), encoding="utf-8")
    _write_csv(folder / NUMBERS, number_rows(comparison))
    _write_csv(folder / SIGNIFICANCE, significance_rows(comparison))
    return text


def markdown(comparison: Comparison, title: str) -> str:
    """The table, the best of each metric in bold, and what its signs mean."""

    def cell(row: Row, metric: str) -> str:
        score, spread, mark = _parts(comparison, row, metric)
        bold = "**" if comparison.places(metric)[row.label] == 0 else ""
        return f"{bold}{score}{bold}{f' ± {spread}' if spread else ''}{' †' if mark else ''}"

    rows = [["model", *comparison.metrics, *COST], *_rows(comparison, cell)]
    return "\n\n".join([markdown_text(title), markdown_table(rows), *map(markdown_text, notes(comparison))]) + "\n"


def latex(comparison: Comparison, title: str) -> str:
    """A booktabs table, the best of each metric bold and the second-best underlined; its caption explains the signs."""

    def cell(row: Row, metric: str) -> str:
        score, spread, mark = _parts(comparison, row, metric)
        style = {0: r"\textbf{%s}", 1: r"\underline{%s}"}.get(comparison.places(metric)[row.label], "%s")
        return style % score + (rf" $\pm$ {spread}" if spread else "") + ("$^{\\dagger}$" if mark else "")

    head = [_escaped(name) for name in ("model", *comparison.metrics, *COST)]
    body = [[_escaped(cells[0]), *cells[1:]] for cells in _rows(comparison, cell, _escaped)]
    caption = " ".join([f"{_escaped(title)}.", *map(_escaped, notes(comparison))])
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}",
        rf"\caption{{{caption}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        r"\toprule",
        " & ".join(head) + r" \\",
        r"\midrule",
        *(" & ".join(cells) + r" \\" for cells in body),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def notes(comparison: Comparison) -> list[str]:
    """What stands under the table: what the signs mean, and what failed."""
    seeds = sorted({seed for row in comparison.rows for seed in (*row.entries, *row.failures)})
    named = ", ".join(map(str, seeds))
    over = f"Means ± sample standard deviations over seeds {named}." if len(seeds) > 1 else f"Seed {named}."
    lines = [f"{over} Seconds are of training and validation."] if comparison.metrics else []
    found = [entry for entry in comparison.differences if entry.metric == comparison.metric]
    if found:
        averaged = " (the mean over seeds of each)" if len(seeds) > 1 else ""
        lines.append(
            f"† differs from {comparison.reference}, p < 0.05: two-sided {TEST_NAMES[comparison.test]} over "
            f"{found[0].paired.n_users:,} users{averaged}, by Holm and Bonferroni corrected for {len(found)} "
            f"{'comparisons' if len(found) > 1 else 'comparison'} in each metric; all tests and 95% intervals: "
            f"{SIGNIFICANCE}."
        )
    elif len([row for row in comparison.rows if row.entries]) > 1:
        lines.append(f"Nothing was tested against {comparison.reference}: there are no results by user to pair.")
    return [*lines, *_masks(comparison), *_failures(comparison)]


def _masks(comparison: Comparison) -> list[str]:
    """Which rows may rank what a user had already: their results do not compare with the others'."""
    masked = {row.label: next(iter(row.entries.values()))["mask_history"] for row in comparison.rows if row.entries}
    if len(set(masked.values())) < 2:
        return []
    open_ones = ", ".join(label for label, is_masked in masked.items() if not is_masked)
    return [f"Histories are masked, but not those of {open_ones} (mask_history: False)."]


def _failures(comparison: Comparison) -> list[str]:
    lines = []
    for row in comparison.rows:
        for why in dict.fromkeys(row.failures.values()):
            seeds = [str(seed) for seed, other in row.failures.items() if other == why]
            lines.append(f"{row.label}, seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}, failed: {why}.")
    return lines


def _parts(comparison: Comparison, row: Row, metric: str) -> tuple[str, str, bool]:
    """Mean, deviation (empty for one seed), and whether the difference from the reference is significant."""
    values = row.values(metric)
    off = deviation(values)
    spread = "" if off is None else f"{off:.4f}"
    return f"{mean(values):.4f}", spread, comparison.is_significant(row.label, metric)


def _rows(
    comparison: Comparison, cell: Callable[[Row, str], str], escape: Callable[[str], str] = str
) -> Iterable[list[str]]:
    for row in comparison.rows:
        n_failed = f" ({len(row.entries)} of {len(row.entries) + len(row.failures)} seeds)" if row.failures else ""
        if not row.entries:
            yield [row.label, "failed", *[""] * (len(comparison.metrics) + len(COST) - 1)]
            continue
        trained, epoch, total = _cost(row)
        scores = [cell(row, metric) for metric in comparison.metrics]
        yield [f"{row.label}{n_failed}", *scores, escape(f"{trained:,}"), f"{epoch:.2f}", f"{total:.0f}"]


def _cost(row: Row) -> tuple[int, float, float]:
    entries = list(row.entries.values())
    means = [mean(entry[name] for entry in entries) for name in ("seconds_per_epoch", "seconds")]
    return entries[0]["parameters"]["trained"], means[0], means[1]


_LATEX = {
    "\\": r"\textbackslash{}", "†": r"$^{\dagger}$", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "<": r"$<$",
    ">": r"$>$",
}  # fmt: skip


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in " ".join(text.splitlines()))


def number_rows(comparison: Comparison) -> list[list[Any]]:
    """The table's numbers, unrounded."""
    scores = [f"{metric} {what}" for metric in comparison.metrics for what in ("mean", "deviation", "significant")]
    rows: list[list[Any]] = [
        ["model", "seeds", *scores, "trained_parameters", "seconds_per_epoch", "seconds", "failed"]
    ]
    for row in comparison.rows:
        failed = "; ".join(f"seed {seed}: {why}" for seed, why in row.failures.items())
        if not row.entries:
            rows.append([row.label, 0, *[""] * (len(scores) + len(COST)), failed])
            continue
        cells: list[Any] = []
        for metric in comparison.metrics:
            values = row.values(metric)
            cells += [mean(values), deviation(values), comparison.is_significant(row.label, metric)]
        rows.append([row.label, len(row.entries), *cells, *_cost(row), failed])
    return rows


def significance_rows(comparison: Comparison) -> list[list[Any]]:
    """Every test: difference, its interval, p-values before and after the correction."""
    head = [
        "metric", "model", "reference", "users", "difference", "low_95", "high_95",
        "t_p", "t_p_holm", "wilcoxon_p", "wilcoxon_p_holm",
    ]  # fmt: skip
    rows: list[list[Any]] = [head]
    for entry in comparison.differences:
        n_users, difference, low, high, t, wilcoxon = entry.paired
        tests = [t, entry.t, wilcoxon, entry.wilcoxon]
        rows.append([entry.metric, entry.label, comparison.reference, n_users, difference, low, high, *tests])
    return rows


def _write_csv(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(map(csv_row, rows))

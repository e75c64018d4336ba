"""What searches found: a table of trials, a summary, and the best settings as a file that ``--config_files`` takes."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from recbole_pixel.config_files import PER_MODEL
from recbole_pixel.result_table import csv_row, markdown_table, markdown_text
from recbole_pixel.tuning.trials import DONE, FAILED, STOPPED, Search, Trial, Trials

BEST, TRIALS, SUMMARY = "best.yaml", "trials.csv", "summary.md"


def write_summary(found: Sequence[Trials], folder: Path, metric: str, how: str) -> str:
    """Writes best.yaml, trials.csv and summary.md into ``folder``; returns the summary.

    Args:
        found: a search each.
        folder: where to.
        metric: of the validation.
        how: engine, sampler and seed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_trials(found, folder / TRIALS, metric)
    text = summary(found, metric, how)
    (folder / SUMMARY).write_text(text, encoding="utf-8")
    (folder / BEST).write_text(best_yaml(found, metric, how), encoding="utf-8")
    return text


def summary(found: Sequence[Trials], metric: str, how: str) -> str:
    """A line a model: what its search was given, what it cost, what it found."""
    rows = [["model", "trials", "stopped early", "failed", "seconds", f"best valid {metric}", "settings"]]
    for trials in found:
        counts = {state: sum(trial.state == state for trial in trials.done) for state in (STOPPED, FAILED)}
        best = trials.best()
        score = "none" if best is None else f"{best.score:.4f}"
        cells = [str(len(trials.done)), str(counts[STOPPED]), str(counts[FAILED]), f"{trials.seconds:.0f}", score]
        rows.append([trials.search.entry.label, *cells, _shown(best.settings) if best else ""])
    search = found[0].search
    notes = [
        f"{how}. Each model was given {_budget(search)}; the validation alone decided, the test was not looked at."
    ]
    for trials in found:
        whys = dict.fromkeys(trial.why for trial in trials.done if trial.state == FAILED)
        notes += [f"{trials.search.entry.label}, failed: {why}." for why in whys]
    return "\n\n".join([f"Searches on {search.dataset}", markdown_table(rows), *map(markdown_text, notes)]) + "\n"


def _budget(search: Search) -> str:
    given = [] if search.n_trials is None else [f"{search.n_trials} trials"]
    given += [] if search.budget is None else [f"{search.budget:.0f} seconds, in which trials could begin"]
    return " and ".join(given)


def _shown(settings: dict[str, Any]) -> str:
    return ", ".join(
        f"{key}={f'{value:.4g}' if isinstance(value, float) else value}" for key, value in settings.items()
    )


def best_yaml(found: Iterable[Trials], metric: str, how: str) -> str:
    """The best settings of each model under ``per_model``, with what its entry said of itself."""
    lines, own = [], {}
    for trials in found:
        best, entry = trials.best(), trials.search.entry
        if best is not None:
            told = {key: value for key, value in entry.settings.items() if key != "item_tower"}  # the key says it
            own[entry.per_model] = {**told, **best.settings}
            lines.append(f"# {entry.label}: best of {len(trials.done)} trials, validation {metric} {best.score:.4f}")
    body = yaml.safe_dump({PER_MODEL: own}, sort_keys=False) if own else "{}\n"
    return "\n".join([f"# {how}.", *lines, body])


def _write_trials(found: Sequence[Trials], path: Path, metric: str) -> None:
    names = list(dict.fromkeys(name for trials in found for trial in trials.done for name in trial.settings))
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["model", "trial", "state", f"valid {metric}", "epochs", "seconds", *names, "why"])
        for trials in found:
            for number, trial in enumerate(trials.done, 1):
                writer.writerow(csv_row([trials.search.entry.label, number, *_cells(trial, names)]))


def _cells(trial: Trial, names: Sequence[str]) -> list[Any]:
    score = "" if trial.score is None else trial.score
    settings = [trial.settings.get(name, "") for name in names]
    return [trial.state, score, trial.epochs, round(trial.seconds, 2), *settings, trial.why]


def is_complete(found: Iterable[Trials]) -> bool:
    """Whether each search has a best trial."""
    return all(any(trial.state == DONE for trial in trials.done) for trials in found)

"""Runs that leave a folder behind them: result, users' results, and a page that shows both."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterable, Mapping
from logging import getLogger
from pathlib import Path
from typing import Any

from recbole_pixel import quick_start
from recbole_pixel.checkpoint import plain_config
from recbole_pixel.evaluation.per_user import write_per_user
from recbole_pixel.quick_start import Trained
from recbole_pixel.report.baselines import baseline_results
from recbole_pixel.report.page.contents import contents_of, table_rows
from recbole_pixel.report.page.rendering import page_of
from recbole_pixel.report.page.told_settings import changed_settings
from recbole_pixel.report.run_folder import (
    PER_USER,
    REPORT,
    comparable_runs,
    new_folder,
    row_label,
    split_mark,
    write_run,
)
from recbole_pixel.store.new_file import new_file


def run_reported(
    model: str,
    dataset: str,
    config_files: Iterable[str | Path] = (),
    settings: Mapping[str, Any] | None = None,
    resume: bool | str | Path = False,
) -> dict[str, Any]:
    """Trains and evaluates as :func:`recbole_pixel.quick_start.run`, and reports unless ``report`` is False.

    Args:
        model: see there, as the others.
        dataset: likewise.
        config_files: likewise.
        settings: likewise.
        resume: likewise.

    Returns:
        What it returns, and ``report``: path of the page; None where there is none.
    """
    made: list[Path | None] = []
    result = quick_start.run(
        model,
        dataset,
        config_files,
        settings,
        then=lambda found, trained: made.append(report_run(found, trained)),
        resume=resume,
    )
    page = next(iter(made), None)
    return {**result, "report": None if page is None else str(page)}


def report_run(result: Mapping[str, Any], trained: Trained) -> Path | None:
    """Writes the folder of a run, whose results stay whatever happens here: errors are warnings in the log.

    Returns:
        Path of the page; None where ``report`` is False, or it could not be written.
    """
    config = trained.config
    if not config["report"]:
        return None
    try:
        return write_page(*keep(result, trained, Path(config["result_dir"])), trained)
    except Exception as error:
        logger = getLogger()
        logger.warning(f"the run is done, but its report was not written: {type(error).__name__}: {error}")
        logger.debug("why the report was not written", exc_info=True)
        return None


def keep(result: Mapping[str, Any], trained: Trained, result_dir: Path) -> tuple[Path, dict[str, Any]]:
    """Writes result and users' results of a run into a new folder; returns that, and the result as it is kept."""
    kept, folder = kept_result(result, trained), new_folder(result_dir, result)
    write_run(folder, kept)
    if trained.each is not None:
        write_per_user(trained.each, folder / PER_USER)
    return folder, kept


def kept_result(result: Mapping[str, Any], trained: Trained) -> dict[str, Any]:
    """A result with what its page and later tables need to know of its run."""
    config = trained.config
    return {
        **result,
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "command": command_line(),
        "valid_metric": str(config["valid_metric"]).lower(),
        "valid_metric_bigger": bool(config["valid_metric_bigger"]),
        "split": split_mark(trained),
        "settings": plain_config(config),
        "changed": changed_settings(config),
    }


def command_line() -> str:
    """How this process was started."""
    name = Path(sys.argv[0]).name
    return shlex.join([*(["python", "-m", "recbole_pixel"] if name == "__main__.py" else [name]), *sys.argv[1:]])


def write_page(folder: Path, result: Mapping[str, Any], trained: Trained) -> Path:
    """Writes the page of a run into its folder: its baselines are run if they have not been.

    Args:
        folder: of the run, in the folder of results.
        result: as it is kept there.
        trained: what the run left in memory, or what was made of its checkpoint.
    """
    contents = contents_of(trained)
    baselines = [{**entry, "label": row_label(entry)} for entry in baseline_results(trained, folder.parent)]
    others = [{**run.result, "kind": "other"} for run in comparable_runs(folder.parent, result)]
    known = {entry["label"] for entry in others}
    others += [{**entry, "kind": "baseline"} for entry in baselines if entry["label"] not in known]
    label = row_label(result)
    page = page_of(label, result, table_rows(label, result, others), contents)
    return _written(folder / REPORT, page)


def _written(path: Path, page: str) -> Path:
    partial = path.with_name(f"{path.name}.partial")
    with new_file(partial, "t", encoding="utf-8") as stream:
        stream.write(page)
    partial.replace(path)
    return path

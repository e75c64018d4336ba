"""Baselines that every run can stand beside: they cost a tenth of a second, and are kept by data and split."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from logging import getLogger
from pathlib import Path
from typing import Any

from recbole.utils.argument_list import dataset_arguments, evaluation_arguments

from recbole_pixel import quick_start
from recbole_pixel.checkpoint import plain_config
from recbole_pixel.config import DATASET_KEYS
from recbole_pixel.evaluation.training_counts import training_counts
from recbole_pixel.report.ablation import BASELINES
from recbole_pixel.report.kept_runs import KeptRuns
from recbole_pixel.report.run_folder import split_mark
from recbole_pixel.report.runs import Job, Run, plan_job

SHARED = {
    *dataset_arguments, *evaluation_arguments, "data_path", "cache_dir", "encoding", "seed", "use_gpu", "gpu_id",
    "checkpoint_dir",
} - {"repeatable", *DATASET_KEYS}  # fmt: skip
"""Settings that say what a model is trained and tested on; RecBole sets ``repeatable`` by the kind of model, and keys
of our own are about item towers."""

KEPT = "baselines.jsonl"
MOST = 20_000_000  # interactions: more of them a second time might not fit beside the run's own
_LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


def baseline_results(trained: quick_start.Trained, result_dir: Path) -> list[dict[str, Any]]:
    """Results of the baselines on the split of a run; those that were tested on something else are left out.

    Args:
        trained: of the run.
        result_dir: where they are kept.
    """
    config, mark = trained.config, split_mark(trained)
    if mark is None or config["cold_items"]:  # which models without an item tower cannot hold out
        return []
    if training_counts(trained.parts[0]).sum() > MOST:
        return []
    settings = {key: value for key, value in plain_config(config).items() if key in SHARED and value is not None}
    quiet = {"state": "ERROR", "show_progress": False}
    kept = KeptRuns(result_dir / KEPT, ("key",), say=lambda entry: None)
    found = []
    for name in BASELINES:
        if name == config["model"]:
            continue
        masked = {} if name == "RepeatLast" else {"mask_history": config["mask_history"]}  # it ranks what a mask hides
        try:
            job = plan_job(Run(name, name, config["seed"], {**settings, **masked, **quiet}), config["dataset"], ())
            found.append(kept.run((job.key,), partial(_made, job)))
        except Exception as error:  # of data that this baseline cannot read, say; the run's own report goes on
            getLogger().info(f"{name} is left out of the report: {type(error).__name__}: {error}")
    return [entry for entry in found if entry["split"] == mark]


def _made(job: Job) -> dict[str, Any]:
    marks: list[str | None] = []
    with _alone():
        result = quick_start.run(
            job.run.model, job.dataset, (), job.run.settings, False, lambda _, made: marks.append(split_mark(made))
        )
    kept = ("model", "item_tower", "dataset", "seed", "mask_history", "test", "epochs", "seconds", "parameters")
    return {name: result[name] for name in kept} | {"split": marks[0]}


@contextmanager
def _alone() -> Iterator[None]:
    """Within it, this process knows of no others that it was started with."""
    before = {name: os.environ.pop(name) for name in _LAUNCHED if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)

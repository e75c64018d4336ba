"""Runs that a table is made of: planned, told apart by all that their results depend on, made once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from json import dumps
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from recbole_pixel import __version__
from recbole_pixel.report.kept_runs import KeptRuns
from recbole_pixel.report.pool import run_missing

WHERE = {
    "data_path", "checkpoint_dir", "result_file", "cache_dir", "show_progress", "state", "log_wandb", "device",
    "gpu_id", "per_user", "report", "result_dir",
}  # fmt: skip
"""Settings that say where and how loudly a run works, not what it does."""

KEPT = ("test", "best_valid", "mask_history", "epochs", "seconds", "seconds_per_epoch", "parameters", "checkpoint")
"""What is kept of a run's result."""


class Run(NamedTuple):
    """One of a table's runs.

    Attributes:
        label: its row in the table.
        model: name.
        seed: of the run.
        settings: on top of the configuration files, the seed among them.
    """

    label: str
    model: str
    seed: int
    settings: dict[str, Any]


class Job(NamedTuple):
    """What it takes to make a run.

    Attributes:
        run: the run.
        dataset: name.
        config_files: of all runs.
        key: a digest of all that the result depends on: the resolved settings and the dataset's files.
        checkpoint_dir: a folder of its own: RecBole names its checkpoints by the second.
        metric: the validation metric.
        bigger: whether more of it is better.
        reported: what it is measured by, ``metrics`` and ``topk``, each sorted.
    """

    run: Run
    dataset: str
    config_files: tuple[str, ...]
    key: str
    checkpoint_dir: str
    metric: str
    bigger: bool
    reported: Mapping[str, Sequence[Any]] = {}


class Outcome(NamedTuple):
    """What became of planned runs.

    Attributes:
        kept: results, of those that have been made.
        failed: errors, of the others.
    """

    kept: list[tuple[Run, dict[str, Any]]]
    failed: list[tuple[Run, Exception]]

    def by_label(self) -> dict[str, list[dict[str, Any]]]:
        """Results of each row, in the order of the runs; none where all of them failed."""
        labels = dict.fromkeys(run.label for run, _ in [*self.kept, *self.failed])
        return {label: [entry for run, entry in self.kept if run.label == label] for label in labels}


def plan_job(run: Run, dataset: str, config_files: Sequence[str]) -> Job:
    """Resolves a run's settings.

    Raises:
        SettingError, FileNotFoundError: as the settings deserve.
    """
    from recbole_pixel.config import make_config

    config = make_config(run.model, dataset, config_files, run.settings)
    key = _digest(run.model, dataset, config)
    folder = str(Path(config["checkpoint_dir"]) / key)
    metric, bigger = str(config["valid_metric"]).lower(), bool(config["valid_metric_bigger"])
    reported = {"metrics": sorted({name.lower() for name in config["metrics"]}), "topk": sorted(set(config["topk"]))}
    return Job(run, dataset, tuple(config_files), key, folder, metric, bigger, reported)


def _digest(model: str, dataset: str, config: Any) -> str:
    import torch

    told = {key: str(value) for key, value in config.final_config_dict.items() if key not in WHERE}
    folders = [Path(config["data_path"]), *_companions(config)]
    named = [Path(value) for key, value in config.final_config_dict.items() if isinstance(value, str) and key in FILES]
    files = [file for folder in folders for file in (*folder.glob(f"{folder.name}.*"), folder / "images.lmdb")]
    files += named
    state = [stamp for file in sorted(files) for stamp in _stamps(file)]
    told = {**told, "accelerator": str(torch.cuda.is_available() and str(config["device"]) != "cpu")}
    return sha256(dumps([__version__, model, dataset, told, state], sort_keys=True).encode()).hexdigest()[:16]


def _companions(config: Any) -> list[Path]:
    """Folders of further datasets that a joint stage trains on."""
    return [Path(config["data_path"]).parent / name for name in config["joint_datasets"] or ()]


FILES = ("images", "features", "pretrained", "adapter", "encoder_weights", "text_encoder", "vlm")
"""Settings that may name a file or a folder, what is in which a result depends on."""


def _stamps(path: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of a file, or of the files in a folder at any depth; none where there is no such thing."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [
        (str(file.relative_to(path.parent)), file.stat().st_size, file.stat().st_mtime_ns)
        for file in files
        if file.is_file() and file.name != "lock.mdb"  # which readers write
    ]


def make_run(job: Job, then: Callable[[Any, Any], None] | None = None, **own: Any) -> dict[str, Any]:
    """The result of a run, made in the process that this is called in.

    Args:
        job: the run.
        then: see :func:`~recbole_pixel.quick_start.run`.
        own: settings that say where it works.
    """
    from recbole_pixel.quick_start import run as run_model

    quiet = {"show_progress": False, "state": "ERROR", "keep_checkpoints": 0}  # what is cut off here is made anew
    settings = {**quiet, **job.run.settings, "checkpoint_dir": job.checkpoint_dir}
    result = run_model(job.run.model, job.dataset, job.config_files, {**settings, **own}, then=then)
    kept = {name: result[name] for name in KEPT}
    cold = {"cold": result["cold"]} if "cold" in result else {}
    return {"label": job.run.label, "seed": job.run.seed, **kept, **cold}


def plan_jobs(
    planned: Sequence[Run], dataset: str, config_files: Sequence[str], expected: tuple[type[Exception], ...]
) -> tuple[list[Job], list[tuple[Run, Exception]]]:
    """The jobs of runs, and the errors of those whose settings cannot be.

    Raises:
        Exception: that of the first run, where all of them have one of ``expected``.
        ValueError: two are measured by other metrics or cut-offs, which no table can hold.
    """
    jobs, failed = list[Job](), []
    for run in planned:
        try:
            jobs.append(plan_job(run, dataset, config_files))
        except expected as error:
            failed.append((run, error))
    if failed and not jobs:
        raise failed[0][1]
    for job in jobs:
        _check_same_metrics(jobs[0], job)
    return jobs, failed


def _check_same_metrics(job: Job, other: Job) -> None:
    for name, values in job.reported.items():
        if values != other.reported[name]:
            raise ValueError(
                f"{job.run.label} and {other.run.label} have other {name}: {values} and {other.reported[name]}; rows "
                f"of one table need the same: give all models the same metrics and topk"
            )


def run_jobs(
    jobs: Sequence[Job],
    runs: KeptRuns,
    n_jobs: int,
    expected: tuple[type[Exception], ...],
    make: Callable[[Job], Mapping[str, Any]] = make_run,
) -> Outcome:
    """Makes the runs that are not kept yet.

    Args:
        jobs: rows whose settings are the same share a run.
        runs: what is kept, by key.
        n_jobs: runs at a time.
        expected: errors of a run that the others are not to be stopped by.
        make: what makes one; can be pickled.
    """
    wanted: dict[tuple[str], Callable[[], Any]] = {}
    for job in jobs:
        wanted.setdefault((job.key,), partial(make, job))
    errors = run_missing(wanted, runs, n_jobs, expected)
    kept = [(job.run, entry) for job in jobs if (entry := runs.get(job.key)) is not None]
    return Outcome(kept, [(job.run, errors[(job.key,)]) for job in jobs if (job.key,) in errors])


def reason(error: Exception) -> str:
    """An error in one line; what kind it is where it does not speak to the user."""
    from recbole_pixel.cli import EXPECTED

    text = " ".join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split())
    return text if text and isinstance(error, EXPECTED) else f"{type(error).__name__}: {text}".rstrip(": ")


def parse_seeds(text: str) -> list[int]:
    """The numbers of ``--seeds``; see :func:`parse_numbers`."""
    return parse_numbers(text, "--seeds", "seed")


def parse_numbers(text: str, option: str, one: str) -> list[int]:
    """Numbers between commas.

    Args:
        text: given.
        option: by which.
        one: what each of them is.

    Raises:
        ValueError: something else, or a number twice.
    """
    try:
        numbers = [int(number) for number in text.split(",")]
    except ValueError:
        raise ValueError(f"{option} is {text!r}; expected numbers between commas, such as 1,2,3") from None
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"{option} is {text!r}: a {one} that stands twice would count twice")
    return numbers


def spread(values: Sequence[float], sign: str = "±") -> str:
    """Mean, and deviation where there are several."""
    deviation = f" {sign} {stdev(values):.4f}" if len(values) > 1 else ""
    return f"{mean(values):.4f}{deviation}" if values else ""

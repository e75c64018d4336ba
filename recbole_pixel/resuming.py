"""Which state a run goes on from: found by its settings or by its path, whole, and of the same course."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path
from typing import Any, NamedTuple

import torch

from recbole_pixel.checkpoint import is_ours, plain_config, read_checkpoint
from recbole_pixel.distributed import from_first, gather_objects, is_first
from recbole_pixel.kept_states import SUFFIX, put_aside, run_folders, states_in
from recbole_pixel.whole_files import DamagedFileError

FREE = {
    "data_path", "images", "features", "cache_dir", "checkpoint_dir", "result_file", "per_user", "report", "result_dir",
    "keep_checkpoints", "checkpoint_steps", "checkpoint_epochs", "pretrained", "trust_checkpoint", "health",
    "state", "show_progress", "loss_decimal_place", "log_wandb", "wandb_project", "gpu_id", "use_gpu", "worker",
    "save_dataset", "dataset_save_path", "save_dataloaders", "dataloaders_save_path", "config_files",
    "pixel_tier", "eval_batch_size", "encoder_chunk", "train_encoder_chunk", "gradient_cache_chunk",
    "vlm_checkpointing", "compile", "popularity_buckets", "cold_calibration", "cold_offset",
}  # fmt: skip
"""Settings that say where a run works and what it tells, or what it computes at a time: its course is the same."""


class Point(NamedTuple):
    """A state to go on from.

    Attributes:
        path: of its file.
        state: what is in it.
    """

    path: Path
    state: Mapping[str, Any]


def find_point(config: Any, resume: bool | str | Path) -> Point:
    """The state that a run with ``config`` goes on from; all ranks ask together, and get the same.

    Args:
        config: RecBole's.
        resume: True for the newest state in ``checkpoint_dir`` of a run of the same course; or the path of a state, of
            a run's folder, or of its model.

    Raises:
        FileNotFoundError: there is none.
        ValueError: its run was of another course, or it is no state, or no state of the run is whole.
    """
    found: Any = None
    if is_first():
        try:
            found = _found(config, resume)
        except (ValueError, LookupError, OSError) as error:
            found = error
    told = from_first(found if isinstance(found, Exception) else found.path if is_first() else None)
    if isinstance(told, Exception):
        raise told
    return _on_all(told, found)


def _on_all(path: Path, found: Point | None) -> Point:
    """What the first rank found, read by each where all see the file, told by the first where not."""
    if all(gather_objects(path.is_file())):
        return found or Point(path, read_checkpoint(path))
    return Point(path, from_first(None if found is None else found.state))


def _found(config: Any, resume: bool | str | Path) -> Point:
    own = plain_config(config)
    if resume is True:
        point = newest_whole(states_in(_newest_run(own, Path(config["checkpoint_dir"]))))
    else:
        point = newest_whole(_named(Path(str(resume)).expanduser()))
    differing = other_course(point.state["config"], own, point.state["run"])
    if differing:
        raise ValueError(
            f"{point.path} is of a run with other settings: {'; '.join(differing)}; give that run's, or start a new "
            f"run without --resume"
        )
    run = point.state["run"]
    where = f"epoch {run['epoch']}, behind batch {run['n_batches']}" if run["end"] is None else "which is finished"
    getLogger().info(f"going on with the run in {point.path}: {where}")
    return point


def _newest_run(own: Mapping[str, Any], checkpoint_dir: Path) -> Path:
    """The folder of the last run of the course of ``own`` settings."""
    others = []
    for folder in run_folders(checkpoint_dir, own["model"]):
        peeked = _peek(folder)
        if peeked is None:
            getLogger().warning(f"no state in {folder} can be read; that run is passed over")
            continue
        differing = other_course(*peeked[:1], own, peeked[1])
        if not differing:
            return folder
        others.append(f"{folder}: {'; '.join(differing)}")
    if others:
        raise ValueError(
            f"no run in {checkpoint_dir} can be gone on with, all have other settings than these. The newest, "
            f"{others[0]}; give that run's settings, or start a new run without --resume"
        )
    raise FileNotFoundError(
        f"there is no run of {own['model']} in {checkpoint_dir} to go on with; start it without --resume, or name "
        f"one: --resume=PATH"
    )


def _peek(folder: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """Settings and progress in the newest readable state of a folder, whose tensors are left on the disk."""
    for path in states_in(folder):
        try:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            return state["config"], state["run"]
        except Exception:  # a torn file may make torch fail in any way
            continue
    return None


def _named(path: Path) -> list[Path]:
    """States that ``path`` stands for, the first to be tried first: it, and those of its run before it."""
    if path.is_file() and path.parent.suffix == SUFFIX:
        states = states_in(path.parent)
        return states[states.index(path) :] if path in states else [path]
    folder = path if path.is_dir() else path.with_suffix(SUFFIX)
    if states_in(folder):
        return states_in(folder)
    if path.exists():
        raise ValueError(
            f"{path} holds no state to go on from; --resume takes a file step-N.pth, or the folder NAME{SUFFIX} that "
            f"it lies in (to start a new run from a model's weights, set pretrained)"
        )
    raise FileNotFoundError(f"--resume names {path}, and there is nothing")


def newest_whole(states: list[Path]) -> Point:
    """The first of ``states`` that is as it was written; those before it are put aside, and told.

    Raises:
        ValueError: none is.
    """
    for path in states:
        try:
            state = read_checkpoint(path)
        except (DamagedFileError, EOFError) as error:
            getLogger().error(f"{error}; the state before it is taken, and this one renamed to {path.name}.damaged")
            put_aside(path)
            continue
        if not is_ours(state) or "run" not in state:
            raise ValueError(f"{path} is no state of a run")
        return Point(path, state)
    raise ValueError(f"none of the {len(states)} states in {states[0].parent} is whole: start a new run")


def other_course(there: Mapping[str, Any], here: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    """What would make a run with settings ``here`` another one than that with settings ``there``, told by key.

    Args:
        there: settings of the run, plain.
        here: those that it is to go on with.
        run: how far it is.
    """
    keys = sorted((there.keys() & here.keys()) - FREE - {"epochs"})
    told = [f"{key} is {there[key]!r} there, {here[key]!r} here" for key in keys if there[key] != here[key]]
    if there["epochs"] == here["epochs"]:
        return told
    epochs = f"epochs is {there['epochs']} there, {here['epochs']} here"
    if here.get("lr_schedule", "constant") not in ("constant", None):
        told.append(f"{epochs}, and the learning rates follow a {here['lr_schedule']} over all of them")
    elif here["epochs"] < run["epoch"] + (run["end"] is None):
        told.append(f"{epochs}, and it is in epoch {run['epoch']}, counted from 0")
    return told


@contextmanager
def weights_at_hand(config: Any, point: Point | None) -> Iterator[None]:
    """Within it, a model that is built starts from a state's weights where its run started from another one's.

    What a frozen trunk makes of items may be kept by its weights, so that these are needed when the model is built;
    the file that they came from at first is not.
    """
    if point is None:
        yield
        return
    began_with = point.state["config"].get("pretrained")
    config["pretrained"] = str(point.path) if began_with else None
    try:
        yield
    finally:
        config["pretrained"] = began_with


@contextmanager
def no_other_weights(config: Any, point: Point | None) -> Iterator[None]:
    """Within it, a trainer that is made does not load what its run started from: the state's weights come behind it."""
    began_with = config["pretrained"]
    if point is not None:
        config["pretrained"] = None
    try:
        yield
    finally:
        config["pretrained"] = began_with

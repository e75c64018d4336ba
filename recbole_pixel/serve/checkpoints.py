"""Checkpoints, read so that a damaged or foreign file is told from one that can be served."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from recbole_pixel.checkpoint import OF_THE_READER, is_ours, read_checkpoint, starting_from_itself
from recbole_pixel.config import check_dataset, check_model, check_settings
from recbole_pixel.config_files import nearest
from recbole_pixel.data.cold import TRAINED_ITEMS
from recbole_pixel.foreign_pickles import trusting
from recbole_pixel.whole_files import DamagedFileError, read_plain

NOT_TRAINING: dict[str, Any] = {"compile": False, "state": "WARNING"}
"""Settings that a run needs and an answer does not."""


def opened_checkpoint(path: str | Path, trust: bool) -> dict[str, Any]:
    """What is in a checkpoint.

    Args:
        path: of ours, or of RecBole.
        trust: open RecBole's own, too: they are pickles, which can run any code.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is torn, no checkpoint, or one of RecBole's without ``trust``.
    """
    path = Path(path)
    if not path.is_file():
        there = [file.name for file in path.parent.glob("*.pth")]
        raise FileNotFoundError(f"there is no checkpoint {path}{nearest(path.name, there)}")
    if not _ends_whole(path):
        raise ValueError(f"{path} is no checkpoint, or was cut short; copy it again, or train again")
    try:
        contents = read_plain(path, "cpu")
    except pickle.UnpicklingError:
        if not trust:
            raise ValueError(
                f"{path} is a checkpoint of RecBole's own: a pickle, which can run any code. If you made it yourself, "
                f"say so: trust=True, or --trust"
            ) from None
        with trusting(True):
            contents = read_checkpoint(path)
    except DamagedFileError as error:
        raise ValueError(f"{error}; copy it again, or train again") from error
    if not isinstance(contents, dict) or not {"config", "state_dict"} <= contents.keys():
        raise ValueError(f"{path} holds no settings and weights; expected a checkpoint that a training run wrote")
    return {**contents, "path": str(path)}


def _ends_whole(path: Path) -> bool:
    """Whether it is an archive, as torch.save writes, with its list of contents, which comes last."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return False


def serving_config(
    contents: Mapping[str, Any],
    data_path: str | Path | None,
    device: str | torch.device | None,
    settings: Mapping[str, Any],
) -> Any:
    """The Config of the run that wrote a checkpoint, as it is to be served here.

    Cold items stay those of the run, and what has come since is cold, too, unless ``settings`` draw others.

    Args:
        contents: see :func:`opened_checkpoint`.
        data_path: folder that holds the dataset's folder; where it was in training, by default.
        device: where to compute; an accelerator if there is one, by default.
        settings: in the place of the run's.

    Raises:
        FileNotFoundError: the dataset is not there.
        SettingError: ``settings`` are not known, or nobody has the model.
    """
    check_settings(settings, "settings")
    changed = dict(settings) if data_path is None else {**settings, "data_path": str(data_path)}
    with _same_devices():
        config = (
            _our_config(starting_from_itself(contents["config"], contents["path"]), changed)
            if is_ours(contents)
            else _recbole_config(contents["config"], changed)
        )
    if contents.get(TRAINED_ITEMS) is not None and not {"cold_items", "cold_split"} & set(settings):
        setattr(config, TRAINED_ITEMS, contents[TRAINED_ITEMS])
    default = "cuda" if torch.cuda.is_available() else "cpu"
    config["device"] = torch.device(default if device is None else device)
    try:
        check_dataset(config)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error}; the checkpoint's model was trained on it: say which folder holds it now, by data_path"
        ) from error
    return config


def _our_config(saved: Mapping[str, Any], changed: Mapping[str, Any]) -> Any:
    from recbole_pixel.command_config import CommandConfig

    merged = {**saved, **NOT_TRAINING, **OF_THE_READER, **changed}
    if merged.get("stage") is not None:  # of PixRec: which other data and adapters its training began with
        merged["stage"] = "single"
    check_model(merged["model"])
    return CommandConfig(model=merged["model"], dataset=merged["dataset"], config_dict=merged)


def _recbole_config(config: Any, changed: Mapping[str, Any]) -> Any:
    for key, value in changed.items():
        config[key] = str(Path(value) / config["dataset"]) if key == "data_path" else value
    return config


@contextmanager
def _same_devices() -> Iterator[None]:
    """RecBole's Config hides all accelerators but the one that the training run was given."""
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = before

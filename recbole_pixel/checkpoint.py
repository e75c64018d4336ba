"""Checkpoints of ours: tensors and plain values, read without unpickling anything else, replaced atomically."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from recbole_pixel._replacing import swapped
from recbole_pixel.foreign_pickles import LEFT_BEHIND
from recbole_pixel.whole_files import save_whole

FORMAT = "recbole_pixel/1"


OF_THE_READER: dict[str, Any] = {
    **LEFT_BEHIND, "cache_dir": None, "checkpoint_dir": "saved", "result_dir": "result", "result_file": None,
    "per_user": None, "log_wandb": False,
}  # fmt: skip
"""What a checkpoint may not say for whoever opens it: what is trusted, and where is written."""


def plain(value: Any) -> Any:
    """``value`` as numbers, strings, lists and dicts; None for what has no such form (devices, classes)."""
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)  # numpy's float64 is a float, too, and no plain one
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(entry) for entry in value]
    if hasattr(value, "item") and getattr(value, "size", 0) == 1:
        return value.item()
    return None


DERIVED = ("MODEL_TYPE", "MODEL_INPUT_TYPE", "eval_type", "device", "valid_neg_sample_args", "test_neg_sample_args")
PER_RUN = ("local_rank", "single_spec", "valid_metric_bigger")


def plain_config(config: Any) -> dict[str, Any]:
    """The settings that rebuild ``config``, a RecBole Config."""
    settings = {key: value for key, value in config.final_config_dict.items() if key not in (*DERIVED, *PER_RUN)}
    path = Path(settings["data_path"])
    settings["data_path"] = str(path.parent if path.name == settings["dataset"] else path)
    if (settings["train_neg_sample_args"] or {}).get("distribution") == "none":
        settings["train_neg_sample_args"] = None  # RecBole writes "none" and does not read it
    return plain(settings)


def starting_from_itself(settings: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    """The ``settings`` of the run that wrote the checkpoint ``path``, to build its model again.

    A run that started from another one's weights may keep what a frozen trunk with these makes of items: that the
    trunk is built with them again, they are taken from the checkpoint itself, wherever the other one is now. So are
    those of an encoder of pictures, which is not looked for on the hub, or in a file, again.
    """
    is_itself = settings.get("pretrained") or _sees_by_given_weights(settings)
    return {**settings, "pretrained": str(path)} if is_itself else dict(settings)


def _sees_by_given_weights(settings: Mapping[str, Any]) -> bool:
    """Whether the model has an encoder of pictures that did not start at random."""
    from recbole_pixel.registry import is_pixel_model

    is_seeing = is_pixel_model(settings["model"]) and settings.get("item_tower") in ("image", "image_text")
    return is_seeing and settings.get("encoder_weights") != "random"


def restore_config(settings: dict[str, Any]) -> Any:
    """The RecBole Config that ``settings`` of :func:`plain_config` describe; the command line is not looked at."""
    from recbole.config import Config

    with _no_arguments():
        return Config(model=settings["model"], dataset=settings["dataset"], config_dict={**settings, **OF_THE_READER})


@contextmanager
def _no_arguments() -> Iterator[None]:
    arguments, sys.argv = sys.argv, sys.argv[:1]
    try:
        yield
    finally:
        sys.argv = arguments


def rows_digest(dataset: Any, *fields: str) -> dict[str, str]:
    """For each of ``fields``, a digest of its tokens in the order of their ids: what a table's rows belong to."""
    return {field: sha256("\n".join(map(str, dataset.field2id_token[field])).encode()).hexdigest() for field in fields}


def check_rows(checkpoint: dict[str, Any], dataset: Any, path: str | Path) -> None:
    """Refuses a checkpoint whose tables have a row for each of other users or items, or of the same in another order.

    Raises:
        ValueError: they are; says of which field.
    """
    written = checkpoint.get("rows") or {}
    found = rows_digest(dataset, *written)
    for field, digest in written.items():
        if digest != found[field]:
            raise ValueError(
                f"{path} was trained on other values of {field} than {dataset.dataset_name} has here, or on the same "
                f"in another order, and has a row for each of them: take the dataset that it was trained on, "
                f"unchanged, with the same filters and split"
            )


def has_a_model(state: Any) -> bool:
    """Whether what was read is a checkpoint of ours with a model's weights and the settings that it was built by."""
    if not is_ours(state):
        return False
    weights, settings = state.get("state_dict"), state.get("config")
    plain = getattr(settings, "final_config_dict", settings)  # RecBole's load_data_and_model is given a Config
    named = isinstance(weights, dict) and all(isinstance(name, str) for name in weights)
    return named and isinstance(plain, dict) and {"model", "item_tower"} <= plain.keys()


def write_checkpoint(state: dict[str, Any], path: str | Path) -> None:
    """Saves ``state`` under a temporary name and renames it: a reader never meets half a file.

    Raises:
        OSError: it cannot be written; what was there before is as it was.
    """
    save_whole({"format": FORMAT, **state}, Path(path))


def read_checkpoint(path: str | Path, device: Any = "cpu") -> dict[str, Any]:
    """A checkpoint's contents; RecBole's own pickles are opened where they are trusted.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: it is torn, or not what was written.
        UntrustedPickleError: it is a pickle that this process did not write.
    """
    from recbole_pixel._compat_checkpoint import load_recbole_checkpoint

    if not Path(path).is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    return load_recbole_checkpoint(path, map_location=device)


def is_ours(checkpoint: Any) -> bool:
    """Whether :func:`write_checkpoint` made it."""
    return isinstance(checkpoint, dict) and str(checkpoint.get("format", "")).startswith("recbole_pixel/")


@contextmanager
def opening_our_checkpoint(model_file: str) -> Iterator[None]:
    """Inside, RecBole's ``load_data_and_model`` finds a Config in a checkpoint of ours, whose settings are plain."""
    checkpoint = read_checkpoint(model_file)
    if not is_ours(checkpoint):
        yield
        return
    checkpoint["config"] = restore_config(starting_from_itself(checkpoint["config"], model_file))

    def load(path: Any, *args: Any, **kwargs: Any) -> Any:
        return checkpoint if str(path) == str(model_file) else original(path, *args, **kwargs)

    original = torch.load
    with swapped(torch, "load", load):
        yield

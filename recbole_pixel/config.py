"""Settings: our YAML behind RecBole's, checks that name the nearest right key, and the Config of our own command."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from recbole_pixel.config_files import (
    PER_MODEL,
    SettingError,
    find_config_file,
    is_name,
    nearest,
    read_yaml,
    settings_for,
    tower_in,
)
from recbole_pixel.metric_settings import check_metrics, check_valid_metric
from recbole_pixel.properties_path import properties_dir
from recbole_pixel.setting_types import documented_types, mismatch

DATASET_KEYS = (
    "item_tower", "images", "features", "item_text", "modalities", "missing_image", "missing_text", "shuffle_images",
    "cold_items", "cold_split", "train_rows", "row_targets", "rows_per_user",
)  # fmt: skip
"""Keys of ours that change what a dataset holds: RecBole compares them before it reuses a saved one."""

_for_any_model: ContextVar[bool] = ContextVar("protocol_for_any_model", default=False)
"""Whether RecBole's own models get our protocol too: in our command they do, under RecBole's ``run_recbole`` not."""

CHOICES = {
    "item_tower": ("id", "image", "text", "image_text", "vlm", "features"),
    "loss_type": ("auto", "CE", "BPR", "BCE"),
    "train_rows": ("auto", "sequence", "prefix", "pair"),
    "missing_image": ("error", "mean", "learnt", "drop", "leave_out"),
    "missing_text": ("error", "learnt", "empty", "drop"),
    "text_weights": ("pretrained", "random"),
    "text_pooling": ("auto", "mean", "cls", "last"),
    "vlm_weights": ("auto", "random"),
    "vlm_dtype": ("float32", "bf16"),
    "vlm_pooling": ("mean", "last"),
    "fusion": ("sum", "concat", "gated", "attention"),
    "projection_activation": ("none", "relu", "gelu", "tanh"),
    "batch_norm": ("auto", "frozen", "train"),
    "trunk_cache": ("auto", "off"),
    "trunk_cache_type": ("auto", "float32", "bf16"),
    "pixel_tier": ("auto", "device", "memory", "file"),
    "attention": ("auto", "fused", "stock"),
    "transfer": ("auto", "encoder", "item_tower", "all"),
    "cold_calibration": ("none", "standard"),
    "lr_schedule": ("constant", "cosine"),
    "precision": ("auto", "float32", "bf16"),
    "visual_input": ("features", "features_id", "semantic_id"),
    "learner": ("adam", "adamw", "sgd", "adagrad", "rmsprop", "sparse_adam"),
}

LEAST = {
    "train_batch_size": 1, "eval_batch_size": 1, "MAX_ITEM_LIST_LENGTH": 1, "epochs": 0, "stopping_step": 0,
    "learning_rate": 0.0, "encoder_learning_rate": 0.0, "weight_decay": 0.0, "encoder_weight_decay": 0.0,
    "keep_checkpoints": 0, "checkpoint_epochs": 0, "checkpoint_steps": 0,
}  # fmt: skip
"""Numbers below which a setting means nothing, and torch or RecBole would say so where nobody looks for it."""


def add_internal_settings(config: Any, model: str, model_class: type, dataset: str) -> None:
    """Adds our defaults to RecBole's Config while it loads: overall, parent, model, dataset, each by ``per_model`` too.

    Args:
        config: the Config, its ``external_config_dict`` known.
        model: name of the model; RecBole's own get our settings in our command only.
        model_class: the model; its RecBole parent's YAML counts.
        dataset: name of the dataset.
    """
    from recbole_pixel.registry import BASELINES, is_pixel_model

    has_tower = is_pixel_model(model)
    if not has_tower and model not in BASELINES and not _for_any_model.get():
        return
    overall, *further = _our_yaml(model, dataset)
    if not has_tower:
        overall = {key: value for key, value in overall.items() if _is_protocol(key)}
    settings, external = config.internal_config_dict, config.external_config_dict
    tower = tower_in([overall, *further, external], model)
    for part in [overall, *map(read_yaml, _parent_yaml(model_class)), *further]:
        settings.update(settings_for(part, model, tower))
    per_model = {PER_MODEL: external.pop(PER_MODEL, None)}  # where RecBole's own run_recbole read the files
    given = {**config.variable_config_dict, **config.cmd_config_dict}
    external.update({key: value for key, value in settings_for(per_model, model, tower).items() if key not in given})
    if has_tower:
        _resolve_auto(settings, external, model_class)
    else:
        _fit_loss(settings, external)


def _our_yaml(model: str, dataset: str) -> list[dict[str, Any]]:
    """Our overall settings, those of the model and those of the dataset; empty where there is no such file."""
    folder = properties_dir()
    paths = [folder / "overall.yaml", folder / "model" / f"{model}.yaml", folder / "dataset" / f"{dataset}.yaml"]
    return [read_yaml(path) if path.is_file() else {} for path in paths]


BATCH_ROWS = {"sequence": 64, "prefix": 1024}
"""Rows per step where ``train_batch_size`` is auto: about as many targets, and as many distinct items."""


def _resolve_auto(settings: dict[str, Any], external: dict[str, Any], model_class: Any) -> None:
    """Fills what depends on the model: kind of rows, loss and batch size, wherever they say ``auto``."""

    def resolve(key: str, value: Any) -> Any:
        for place in (settings, external):
            if place.get(key) == "auto":
                place[key] = value
        return external.get(key, settings[key])

    rows = resolve("train_rows", model_class.row_kinds[0])
    resolve("loss_type", model_class.loss_types[0])
    resolve("train_batch_size", BATCH_ROWS.get(rows, BATCH_ROWS["prefix"]))


def _is_protocol(key: str) -> bool:
    """Whether a key of overall.yaml is about data and evaluation: how RecBole's models train stays RecBole's."""
    from recbole.utils.argument_list import training_arguments

    return key not in (*training_arguments, "loss_type")


def _parent_yaml(model_class: type) -> list[Path]:
    """RecBole's YAML of the nearest class of RecBole that ``model_class`` is."""
    import recbole

    folder = Path(recbole.__file__).parent / "properties" / "model"
    names = (base.__name__ for base in model_class.__mro__ if base.__module__.startswith("recbole."))
    return [path for path in (folder / f"{name}.yaml" for name in names) if path.is_file()][:1]


def _fit_loss(settings: dict[str, Any], external: Mapping[str, Any]) -> None:
    """RecBole's sequential models refuse negatives with cross entropy, yet both are its defaults."""
    from recbole.utils import ModelType

    loss = external.get("loss_type", settings.get("loss_type"))
    if settings["MODEL_TYPE"] == ModelType.SEQUENTIAL and loss == "CE":
        settings["train_neg_sample_args"] = None


@cache
def known_keys() -> frozenset[str]:
    """Every key that some YAML of RecBole or of ours sets, or that RecBole lists as an argument."""
    import recbole
    from recbole.utils import argument_list

    keys = {"model", "dataset", "config_files", PER_MODEL, "encoding"}  # the last one RecBole reads and lists nowhere
    for name in ("general", "training", "evaluation", "dataset"):
        keys.update(getattr(argument_list, f"{name}_arguments"))
    for folder in (Path(recbole.__file__).parent / "properties", properties_dir()):
        for path in folder.rglob("*.yaml"):
            if path.name != "url.yaml" and path.name != "kg_url.yaml":
                keys.update(_top_level_keys(path))
    return frozenset(keys)


def _top_level_keys(path: Path) -> set[str]:
    return set(re.findall(r"^([A-Za-z_]\w*)\s*:", path.read_text(encoding="utf-8"), flags=re.MULTILINE))


def check_settings(settings: Mapping[str, Any], where: str) -> None:
    """Refuses keys that nothing reads and values outside a key's choices.

    Raises:
        SettingError: names the key and the nearest right one.
    """
    for key, value in settings.items():
        if key not in known_keys():
            raise SettingError(f"{where}: unknown key {key!r}{nearest(key, known_keys())}")
        if key in CHOICES and value not in CHOICES[key]:
            hint = nearest(str(value), CHOICES[key])
            raise SettingError(f"{where}: {key} is {value!r}, expected one of {', '.join(CHOICES[key])}{hint}")
    _check_types(settings, where)
    check_metrics(settings, where)
    for model, own in (settings.get(PER_MODEL) or {}).items():
        check_model(model.partition(":")[0])
        check_settings(own or {}, f"{where}, {PER_MODEL} {model}")


def _check_types(settings: Mapping[str, Any], where: str) -> None:
    types = documented_types(properties_dir())
    for key, value in settings.items():
        expected = mismatch(types.get(key, ()), value) if key in types else ""
        if not expected and key in LEAST and isinstance(value, (int, float)) and not value >= LEAST[key]:
            expected = f"at least {LEAST[key]:g}"
        if expected:
            raise SettingError(f"{where}: {key} is {value!r}, expected {expected}")


def make_config(
    model: str, dataset: str, files: Iterable[str | Path] = (), settings: Mapping[str, Any] | None = None
) -> Any:
    """The Config of our own command: our protocol for any model, nothing evaluated as code, ``sys.argv`` left alone.

    Args:
        model: name of a model of ours or of RecBole.
        dataset: name of a folder under ``data_path``.
        files: YAML files, by path or as a preset by name; later ones win.
        settings: on top of them.

    Raises:
        SettingError: an unknown model, key or value, or a ``valid_metric`` that no validation has.
        FileNotFoundError: no such file or dataset.
    """
    from recbole_pixel.command_config import CommandConfig

    parts = []
    for file in files:
        parts.append(read_yaml(find_config_file(file)))
        check_settings(parts[-1], str(file))
    parts.append(dict(settings or {}))
    check_settings(parts[-1], "settings")
    tower = tower_in([*_our_yaml(model, dataset), *parts], model)
    merged: dict[str, Any] = {}
    for part in parts:
        merged.update(settings_for(part, model, tower))
    check_model(model)
    token = _for_any_model.set(True)
    try:
        config = CommandConfig(model=model, dataset=dataset, config_dict=merged)
    finally:
        _for_any_model.reset(token)
    check_valid_metric(config)
    check_dataset(config)
    return config


@cache
def recbole_models() -> frozenset[str]:
    """Names of RecBole's own models."""
    import recbole.model

    names = set()
    root = Path(recbole.model.__file__).parent
    for path in root.glob("*_recommender/*.py"):
        names.update(re.findall(r"^class (\w+)\(", path.read_text(encoding="utf-8"), flags=re.MULTILINE))
    return frozenset(names)


def check_model(model: str) -> None:
    """Refuses a model that nobody has.

    Raises:
        SettingError: names the nearest.
    """
    from recbole_pixel.registry import BASELINES, MODELS

    names = recbole_models() | set(MODELS) | set(BASELINES)
    if model not in names:
        raise SettingError(f"there is no model {model!r}{nearest(model, sorted(names))}")


def check_dataset(config: Any) -> None:
    """Refuses a dataset that is not there, instead of asking whether to download one.

    Raises:
        FileNotFoundError: names the nearest.
        SettingError: it is no name, but a way into another folder.
    """
    if not is_name(config["dataset"]):
        raise SettingError(f"dataset is {config['dataset']!r}; expected the name of a folder in data_path, not a path")
    folder = Path(config["data_path"])
    if (folder / f"{config['dataset']}.inter").is_file() or config["benchmark_filename"]:
        return
    there = [path.parent.name for path in folder.parent.glob("*/*.inter")]
    hint = nearest(config["dataset"], there) if there else "; make one with `recbole-pixel convert`"
    raise FileNotFoundError(f"there is no dataset {config['dataset']!r} in {folder.parent}{hint}")

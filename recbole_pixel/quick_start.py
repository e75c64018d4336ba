"""Runs a model from settings to results, as RecBole's ``run_recbole`` does."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path
from typing import Any, NamedTuple

import torch
from recbole.data import create_dataset, data_preparation
from recbole.trainer import Trainer
from recbole.utils import ModelType, get_model, get_trainer, init_seed

from recbole_pixel import __version__
from recbole_pixel.config import make_config
from recbole_pixel.config_files import SettingError
from recbole_pixel.data.tracked import EXACT
from recbole_pixel.deterministic import deterministic_kernels
from recbole_pixel.distributed import first_rank_first, is_first, is_launched_first, process_group, rank, world_size
from recbole_pixel.evaluation.final import check_buckets, evaluate_test
from recbole_pixel.evaluation.history_mask import HistoryMaskMixin
from recbole_pixel.evaluation.per_user import PerUser
from recbole_pixel.evaluation.rank_shares import RankShares
from recbole_pixel.rank_output import one_tensorboard, start_log
from recbole_pixel.registry import is_pixel_model
from recbole_pixel.resumable import Resumable
from recbole_pixel.resuming import find_point, no_other_weights, weights_at_hand
from recbole_pixel.store.new_file import new_file
from recbole_pixel.training import count_parameters
from recbole_pixel.training_digest import other_digests

SCORES_AT_A_TIME = 2**24  # 64 MB


class Trained(NamedTuple):
    """What a run leaves in memory.

    Attributes:
        config: RecBole's.
        model: with the weights that were evaluated.
        parts: training, validation and test dataset.
        each: results of each user and target; None where the metrics rank no items.
    """

    config: Any
    model: Any
    parts: tuple[Any, Any, Any]
    each: PerUser | None


def run(
    model: str,
    dataset: str,
    config_files: Iterable[str | Path] = (),
    settings: Mapping[str, Any] | None = None,
    saved: bool = True,
    then: Callable[[dict[str, Any], Trained], None] | None = None,
    watch: Callable[[int, float], None] | None = None,
    resume: bool | str | Path = False,
) -> dict[str, Any]:
    """Trains and evaluates a model of ours or of RecBole.

    In processes that ``torchrun`` started, all of them train one model together, and all return its results.

    Args:
        model: its name, such as ``PixelSASRec``, ``SASRec`` or ``Pop``.
        dataset: name of a folder under ``data_path``.
        config_files: YAML files; later ones win.
        settings: on top of them.
        saved: keep the best epoch's checkpoint and evaluate that one.
        then: called at the end, by the first rank, when the others have left: with the result and what made it.
        watch: called after each validation with epoch and score, by a search for settings; what it raises ends the run.
            The test part is not looked at then, and ``test`` is empty.
        resume: go on with a run that was interrupted: True for the newest in ``checkpoint_dir`` with these settings, or
            the path of its folder, or of a state in it. One that is finished is evaluated.

    Returns:
        ``model``, ``dataset``, ``seed``, ``mask_history``, ``best_valid``, ``test`` (metric to value), ``popularity``
        (the same by how often targets were consumed in training), ``checkpoint``, ``parameters``,
        ``seconds_per_epoch``, ``pictures_per_epoch``, ``curves`` (``loss`` of each epoch, summed over its steps, and
        ``valid``, the validation metric: lists of epoch and value), ``warnings`` (what was noticed in training:
        :class:`~recbole_pixel.health.notes.Note` as a dict each), ``versions``, ``cold`` where items were held out, and
        ``pretrained`` (what was loaded and what was not) where weights of another run were.

    Raises:
        SettingError, FileNotFoundError, LookupError: as the settings or the data deserve; the message says what to do.
        InterruptedRunError: Ctrl+C or SIGTERM asked the run to stop; it says where its state is. A KeyboardInterrupt.
    """
    config = make_config(model, dataset, config_files, settings)
    with deterministic_kernels(bool(config["deterministic"])), process_group(config["device"]):
        result, trained = _run(config, saved, watch, resume)
    if then is not None and is_launched_first():
        then(result, trained)
    return result


def _run(
    config: Any, saved: bool, watch: Callable[[int, float], None] | None, resume: bool | str | Path
) -> tuple[dict[str, Any], Trained]:
    """One run, by this process or by all ranks together."""
    trainer_kind = trainer_class(config)
    check_resumable(trainer_kind, config["model"], resume, saved)
    check_buckets(config)
    init_seed(config["seed"], config["reproducibility"])
    start_log(config)
    getLogger().info(config)
    point = find_point(config, resume) if resume else None
    with first_rank_first():
        _, train, valid, test = prepare_data(config)
        init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
        with weights_at_hand(config, point):
            network = get_model(config["model"])(config, train._dataset).to(config["device"])
    getLogger().info(network)
    with one_tensorboard(), no_other_weights(config, point):
        trainer = trainer_kind(config, network)
    if not is_first():  # models start alike, and drop out at random, each rank of its own
        torch.manual_seed(config["seed"] + rank())
    if isinstance(trainer, Resumable):
        trainer.other_data = other_digests(config, valid, test)
    if point is not None:
        trainer.go_on_from(point.state, point.path)
    began, told = time.perf_counter(), list[PerUser]()
    validated: list[tuple[int, float]] = getattr(trainer, "validated", [])

    def validate(epoch: int, score: float) -> None:
        validated.append((epoch, score))
        if watch is not None:
            watch(epoch, score)

    _, best_valid = trainer.fit(train, valid, saved=saved, show_progress=config["show_progress"], callback_fn=validate)
    seconds = time.perf_counter() - began + getattr(trainer, "seconds_before", 0.0)
    is_saved = saved and _learns(config, network)
    result = {
        "model": config["model"],
        "item_tower": config["item_tower"] if is_pixel_model(config["model"]) else None,
        "dataset": config["dataset"],
        "seed": config["seed"],
        "mask_history": config["mask_history"],
        "best_valid": plain_scores(best_valid),
        **(evaluate_test(trainer, test, train._dataset, is_saved, told.append) if watch is None else {"test": {}}),
        "checkpoint": trainer.saved_model_file if is_saved else None,
        "parameters": count_parameters(network.parameters()),
        **_cost(trainer, seconds),
        "curves": curves(trainer.train_loss_dict, validated),
        "warnings": trainer.notes.plain() if hasattr(trainer, "notes") else [],
        "versions": versions(),
    }
    if getattr(trainer, "pretrained", None) is not None:
        result["pretrained"] = trainer.pretrained._asdict()
    if config["result_file"] and is_first():
        write_result(result, Path(config["result_file"]))
    parts = train._dataset, valid._dataset, test._dataset
    return result, Trained(config, network, parts, told[0] if told else None)


def curves(losses: Mapping[int, Any], validated: Iterable[tuple[int, float]]) -> dict[str, list[list[float]]]:
    """Losses and validation metrics by epoch, from 0, as lists of pairs."""
    loss = [[epoch, float(value)] for epoch, value in sorted(losses.items())]
    return {"loss": loss, "valid": [[epoch, float(value)] for epoch, value in validated]}


def plain_scores(scores: Mapping[str, Any] | None) -> dict[str, float]:
    """RecBole's scores as plain numbers."""
    return {name: float(value) for name, value in (scores or {}).items()}


def _learns(config: Any, network: Any) -> bool:
    """Whether there is anything to save: popularity is counted, not learnt."""
    return config["MODEL_TYPE"] != ModelType.TRADITIONAL and any(True for _ in network.parameters())


def prepare_data(config: Any) -> tuple[Any, Any, Any, Any]:
    """The dataset, and its train, validation and test loaders.

    Raises:
        SettingError: the settings ask of a RecBole model what only ours can do.
    """
    if config["cold_items"] and not is_pixel_model(config["model"]):
        raise SettingError(
            f"cold_items holds items out of the rows of models with an item tower; {config['model']} has none: use "
            f"PixelSASRec with item_tower=id for an ID baseline"
        )
    if config["pretrained"] and not is_pixel_model(config["model"]):
        raise SettingError(
            f"pretrained names a checkpoint of a model with an item tower; {config['model']} has none and cannot start "
            f"from it: leave it out"
        )
    with _exact_order(config):
        dataset = create_dataset(config)
    getLogger().info(dataset)
    if config["MODEL_TYPE"] != ModelType.SEQUENTIAL:  # there it counts scores, and 512 of them are one user's, at best
        config["eval_batch_size"] = max(config["eval_batch_size"], SCORES_AT_A_TIME)
    return (dataset, *data_preparation(config, dataset))


@contextmanager
def _exact_order(config: Any) -> Iterator[None]:
    """Lets RecBole's models train on RecBole's rows, in exact order, split alike, with what the mask needs to know."""
    import recbole.data.dataset as datasets

    name = f"{config['model']}Dataset"
    own = getattr(datasets, name, None)
    kind = config["MODEL_TYPE"]
    usual = datasets.SequentialDataset if kind == ModelType.SEQUENTIAL else datasets.Dataset
    takes_usual = kind not in (ModelType.KNOWLEDGE, ModelType.DECISIONTREE)
    exact = EXACT.get(own or usual) if own or takes_usual else None
    if exact is None:
        yield
        return
    setattr(datasets, name, exact)
    try:
        yield
    finally:
        if own:
            setattr(datasets, name, own)
        else:
            delattr(datasets, name)


def trainer_class(config: Any) -> Any:
    """RecBole's choice of trainer, masking histories.

    Raises:
        SettingError: several ranks are to train a model that only one can.
    """
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])
    if world_size() > 1 and not issubclass(trainer, RankShares):
        raise SettingError(
            f"{config['model']} trains in one process, and {world_size()} were started; models with an item tower that "
            f"learns train in several: use PixelSASRec with item_tower=id for an ID baseline, or start one process"
        )
    if issubclass(trainer, HistoryMaskMixin):
        return trainer
    resumable = (Resumable,) if trainer is Trainer else ()  # others' epochs depend on more than a state has
    return type(trainer.__name__, (*resumable, HistoryMaskMixin, trainer), {})


def check_resumable(trainer: type, model: str, resume: bool | str | Path, saved: bool) -> None:
    """Refuses to go on with what keeps no states.

    Raises:
        SettingError: says what does.
    """
    if not resume:
        return
    if not issubclass(trainer, Resumable):
        raise SettingError(
            f"{model} keeps no states to go on from; models with an item tower that learns do, and those of RecBole "
            f"that its plain Trainer trains, such as SASRec and BPR: start {model} anew, without --resume"
        )
    if not saved:
        raise SettingError("a run that saves nothing cannot be gone on with: leave out resume, or saved=False")


def _cost(trainer: Any, seconds: float) -> dict[str, Any]:
    epochs = getattr(trainer, "epoch_seconds", None)
    encoded = getattr(trainer, "epoch_encoded", None)
    n_epochs = len(trainer.train_loss_dict)
    return {
        "epochs": n_epochs,
        "seconds": round(seconds, 2),
        "seconds_per_epoch": round(sum(epochs) / len(epochs) if epochs else seconds / max(1, n_epochs), 3),
        "pictures_per_epoch": round(sum(encoded) / len(encoded)) if encoded else 0,
    }


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    from importlib.metadata import version

    names = ("recbole", "torch", "torchvision", "timm", "numpy", "pandas")
    return {
        "recbole_pixel": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    }


def write_result(result: Mapping[str, Any], path: Path) -> None:
    """Writes a result as JSON, under a temporary name first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with new_file(partial, "t", encoding="utf-8") as stream:
        stream.write(json.dumps(result, indent=2, default=float) + "\n")
    partial.replace(path)

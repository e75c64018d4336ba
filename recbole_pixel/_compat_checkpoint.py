"""RecBole's pickles: checkpoints, on a torch that refuses them, and saved datasets; each opens on trust only."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from recbole_pixel._replacing import Overlay, surround, swapped
from recbole_pixel.foreign_pickles import TRUST, check_trusted, remember_written, trusting
from recbole_pixel.whole_files import named_damage, read_plain


def load_recbole_checkpoint(path: str | os.PathLike[str], map_location: Any = None) -> dict[str, Any]:
    """The checkpoint in a file; RecBole's own, which hold a pickled Config, where they are trusted.

    Plain checkpoints, such as this package's, load without that trust.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: it is torn, or none that torch wrote.
        UntrustedPickleError: it is a pickle that this process did not write, outside of
            :func:`~recbole_pixel.foreign_pickles.trusting`.
    """
    try:
        return read_plain(Path(path), map_location)
    except pickle.UnpicklingError:
        with open(path, "rb") as stream, named_damage(Path(path)):
            check_trusted(stream, path, "a checkpoint of RecBole's own")
            return torch.load(stream, map_location=map_location, weights_only=False)


def open_checkpoints_on_trust() -> None:
    """trainer.py `Trainer.evaluate`, `Trainer.resume_checkpoint`, quick_start.py `load_data_and_model`.

    They torch.load a file that `Trainer._save_checkpoint` wrote with a pickled Config in it, which torch >= 2.6
    refuses. Naming its classes as safe does not help: it is of pickle protocol 4, which that reader cannot read.
    """
    from recbole import quick_start
    from recbole.trainer import trainer

    if not isinstance(trainer.torch, Overlay):
        trainer.torch = Overlay(torch, load=load_recbole_checkpoint, save=_save_and_remember)
    surround(trainer.Trainer, "evaluate", _evaluating)
    surround(trainer.Trainer, "resume_checkpoint", _as_its_config_says)
    surround(quick_start.quick_start, "load_data_and_model", _opening)
    quick_start.load_data_and_model = quick_start.quick_start.load_data_and_model


def open_pretrained_models_on_trust() -> None:
    """s3rec.py, ract.py, nais.py, neumf.py, convncf.py and kd_dagfm.py start from a file that another run wrote.

    Their constructors torch.load it, a pickled Config in it, from the path in `pre_model_path` or the like. ldiffrec.py
    np.loads `item_emb.npy` of a dataset with pickles allowed, where an array of numbers needs none.
    """
    names = {"sequential": ("s3rec",), "general": ("ract", "nais", "neumf", "convncf"), "context_aware": ("kd_dagfm",)}
    for kind, modules in names.items():
        for name in modules:
            module: Any = importlib.import_module(f"recbole.model.{kind}_recommender.{name}")
            if isinstance(module.torch, Overlay):
                continue
            module.torch = Overlay(torch, load=load_recbole_checkpoint)
            for model in vars(module).values():
                if isinstance(model, type) and model.__module__ == module.__name__ and hasattr(model, "input_type"):
                    surround(model, "__init__", _as_the_given_config_says)
    module = importlib.import_module("recbole.model.general_recommender.ldiffrec")
    if not isinstance(module.np, Overlay):
        module.np = Overlay(np, load=_load_numbers)


def open_saved_data_on_trust() -> None:
    """data/utils.py `create_dataset` and `load_split_dataloaders` unpickle what earlier runs left in `checkpoint_dir`.

    They look for a file by its name, and open it whether or not the run was told to use one.
    """
    import recbole.data.utils as data
    from recbole.data.dataset import dataset

    if isinstance(data.pickle, Overlay):
        return
    data.pickle = Overlay(pickle, load=_load_pickled, dump=_dump_and_remember)
    dataset.pickle = Overlay(pickle, dump=_dump_and_remember)
    for name in ("create_dataset", "load_split_dataloaders"):
        original = getattr(data, name)
        surround(data, name, _as_the_config_says)
        _rename_everywhere(name, original, getattr(data, name))


def _rename_everywhere(name: str, original: Callable[..., Any], replacement: Callable[..., Any]) -> None:
    """RecBole's modules import the function by name: each has it under a name of its own."""
    for module in [module for key, module in sys.modules.items() if key.startswith("recbole.")]:
        if vars(module).get(name) is original:
            setattr(module, name, replacement)


def _as_the_config_says(config: Any, *_: Any, **__: Any) -> AbstractContextManager[None]:
    return trusting(config[TRUST])


def _as_the_given_config_says(model: Any, config: Any, *_: Any, **__: Any) -> AbstractContextManager[None]:
    return trusting(config[TRUST])


def _as_its_config_says(trainer: Any, *_: Any, **__: Any) -> AbstractContextManager[None]:
    return trusting(trainer.config[TRUST])


def _evaluating(
    trainer: Any, eval_data: Any, load_best_model: bool = True, model_file: Any = None, *_: Any, **__: Any
) -> AbstractContextManager[None]:
    """Of several processes, the first one writes the checkpoint that all of them open, under a name of this run."""
    is_its_own = model_file is None and torch.distributed.is_available() and torch.distributed.is_initialized()
    return trusting(is_its_own or trainer.config[TRUST])


def _save_and_remember(state: Any, path: Any, **kwargs: Any) -> None:
    torch.save(state, path, **kwargs)
    remember_written(path)


def _dump_and_remember(value: Any, stream: IO[bytes], *args: Any, **kwargs: Any) -> None:
    pickle.dump(value, stream, *args, **kwargs)
    stream.flush()
    remember_written(stream.name)


def _load_pickled(stream: IO[bytes], *args: Any, **kwargs: Any) -> Any:
    check_trusted(stream, stream.name, "a dataset or its loaders as RecBole saves them")
    return pickle.load(stream, *args, **kwargs)


def _load_numbers(path: Any, mmap_mode: Any = None, allow_pickle: bool = False, **kwargs: Any) -> Any:
    """np.load, whatever ``allow_pickle`` says."""
    return np.load(path, mmap_mode, allow_pickle=False, **kwargs)


def _opening(model_file: str) -> AbstractContextManager[None]:
    """Inside, torch.load of this one file loads it as RecBole's; of any other, as always."""
    load = torch.load

    def load_on_trust(path: Any, *args: Any, **kwargs: Any) -> Any:
        if path != model_file or "weights_only" in kwargs:
            return load(path, *args, **kwargs)
        return load_recbole_checkpoint(path, *args, **kwargs)

    return swapped(torch, "load", load_on_trust)

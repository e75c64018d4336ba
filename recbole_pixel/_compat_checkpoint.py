"""Opening RecBole's checkpoints, which are pickles, on a torch that refuses pickles unless told otherwise."""

from __future__ import annotations

import importlib
import logging
import os
import pickle
import warnings
from contextlib import AbstractContextManager
from typing import Any

import torch

from recbole_pixel._replacing import Overlay, surround, swapped

_logger = logging.getLogger(__name__)
_written_here: set[str] = set()


def load_recbole_checkpoint(path: str | os.PathLike[str], map_location: Any = None) -> dict[str, Any]:
    """The checkpoint in a file; RecBole's own are unpickled, which runs whatever code they hold.

    Plain checkpoints, such as this package's, load without that trust. RecBole's hold a pickled Config; opening one
    that this process did not write is said in the log.

    Raises:
        FileNotFoundError: there is no such file.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")  # the refusal follows
            return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError:
        if os.path.abspath(path) not in _written_here:
            _logger.warning("%s is a RecBole checkpoint: a pickle, which can run any code. Open only your own.", path)
        return torch.load(path, map_location=map_location, weights_only=False)


def trust_own_checkpoints() -> None:
    """trainer.py `Trainer.evaluate`, `Trainer.resume_checkpoint`, quick_start.py `load_data_and_model`.

    They torch.load a file that `Trainer._save_checkpoint` wrote with a pickled Config in it, which torch >= 2.6
    refuses. Naming its classes as safe does not help: it is of pickle protocol 4, which that reader cannot read.
    """
    from recbole import quick_start
    from recbole.trainer import trainer

    if not isinstance(trainer.torch, Overlay):
        trainer.torch = Overlay(torch, load=load_recbole_checkpoint, save=_save_and_remember)
    surround(quick_start.quick_start, "load_data_and_model", _trusting)
    quick_start.load_data_and_model = quick_start.quick_start.load_data_and_model


def trust_pretrained_models() -> None:
    """s3rec.py, ract.py, nais.py, neumf.py and convncf.py start from a file that another run of RecBole wrote.

    Their constructors torch.load it, a pickled Config in it, from the path in `pre_model_path` or the like.
    """
    names = {"sequential": ("s3rec",), "general": ("ract", "nais", "neumf", "convncf")}
    for kind, modules in names.items():
        for name in modules:
            module = importlib.import_module(f"recbole.model.{kind}_recommender.{name}")
            if not isinstance(module.torch, Overlay):
                module.torch = Overlay(torch, load=load_recbole_checkpoint)  # type: ignore[attr-defined]


def _save_and_remember(state: Any, path: str, **kwargs: Any) -> None:
    torch.save(state, path, **kwargs)
    _written_here.add(os.path.abspath(path))


def _trusting(model_file: str) -> AbstractContextManager[None]:
    """Inside, torch.load of this one file loads it as RecBole's; of any other, as always."""
    load = torch.load

    def load_trusted(path: Any, *args: Any, **kwargs: Any) -> Any:
        if path != model_file or "weights_only" in kwargs:
            return load(path, *args, **kwargs)
        return load_recbole_checkpoint(path, *args, **kwargs)

    return swapped(torch, "load", load_trusted)

"""All that the course of a run depends on, taken from a trainer to be kept, and given to one that is to go on."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from recbole_pixel.checkpoint import plain, plain_config, write_checkpoint
from recbole_pixel.data.cold import TRAINED_ITEMS
from recbole_pixel.distributed import from_first, gather_objects, is_first, rank, wait_for_all, world_size
from recbole_pixel.kept_states import SUFFIX, KeptStates
from recbole_pixel.plain_numbers import changed_numbers, plain_numbers, set_numbers
from recbole_pixel.random_state import random_state, set_random_state

_runs = itertools.count()  # of this process, whose names would else be the same within a second


class RunState:
    """Put before RecBole's ``Trainer``.

    Attributes:
        validated: epoch and score of each validation so far; whoever calls ``fit`` adds to it.
        n_updates: steps of the optimiser so far.
        seconds_before: what the run took before it was gone on with.
        other_data: digests of what the run reads beside its training interactions, by what it is called; whoever calls
            ``fit`` gives them, see :func:`~recbole_pixel.training_digest.other_digests`.
        rows: what the rows of the model's tables belong to, see :func:`~recbole_pixel.checkpoint.rows_digest`; None
            before it is known.
        trained_items: tokens of the items that were not held out as cold; None where none were.
    """

    config: Any
    model: Any
    device: Any
    logger: Any
    optimizer: Any
    train_loss_dict: dict[int, Any]
    best_valid_score: Any
    best_valid_result: Any
    start_epoch: int
    epochs: int
    cur_step: int

    def __init__(self, config: Any, model: Any) -> None:
        super().__init__(config, model)  # type: ignore[call-arg]
        tower = [config["item_tower"]] if hasattr(model, "item_tower") else []
        stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        name = "-".join([config["model"], *tower, config["dataset"], stamp])
        number = next(_runs)
        name = f"{name}-{number}" if number else name
        self.saved_model_file = from_first(os.path.join(config["checkpoint_dir"], f"{name}.pth"))
        self._built = plain_numbers(model)
        self.validated: list[tuple[int, float]] = []
        self.n_updates = 0
        self.seconds_before = 0.0
        self.rows: dict[str, str] | None = None
        self.other_data: dict[str, str] = {}
        self.trained_items: list[str] | None = None
        self._began = time.perf_counter()
        self._data = ""
        self._point: Mapping[str, Any] | None = None
        self._states: KeptStates | None = None
        self._newest: Path | None = None

    @property
    def run_folder(self) -> Path:
        """Where states of this run lie: beside the best epoch's model."""
        return Path(self.saved_model_file).with_suffix(SUFFIX)

    @property
    def goes_on(self) -> bool:
        """Whether the run began before this trainer did."""
        return self._point is not None

    def checkpoint(self, epoch: int) -> dict[str, Any]:
        """The model as it is, as RecBole's checkpoints have it: tensors and plain values.

        Args:
            epoch: the last one that is done.
        """
        held_out = {} if self.trained_items is None else {TRAINED_ITEMS: self.trained_items}
        return {
            "config": plain_config(self.config),
            "epoch": epoch,
            "cur_step": self.cur_step,
            "best_valid_score": float(self.best_valid_score) if np.isfinite(self.best_valid_score) else None,
            "state_dict": self.model.state_dict(),
            "other_parameter": _without_modules(self.model.other_parameter()),
            "numbers": changed_numbers(self.model, self._built),
            "optimizer": self.optimizer.state_dict(),
            "item_table": None,
            "rows": self.rows or {},
            **held_out,
        }

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        """RecBole's, but as tensors and plain values, which open without trust; the first rank writes."""
        if is_first():
            self._write(epoch, kwargs.pop("saved_model_file", self.saved_model_file), verbose)
        wait_for_all()

    def _write(self, epoch: int, path: str, verbose: bool) -> None:
        # RecBole says -1 where no epoch is left to run
        write_checkpoint(self.checkpoint(max(epoch, self.start_epoch - 1)), path)
        if verbose:
            self.logger.info(f"Saving current: {path}")

    def _note(self, train_data: Any, **more: Any) -> dict[str, Any]:
        """What each rank has of its own: what draws at random in it, and ``more``."""
        return {"random": random_state(self.device), "loader": train_data.generator.get_state(), **more}

    def _draw_on(self, noted: Mapping[str, Any], train_data: Any) -> None:
        """Lets everything draw on from where :meth:`_note` found it, if it was here."""
        if "random" not in noted:
            return
        set_random_state(noted["random"], self.device)
        train_data.generator.set_state(noted["loader"])

    def _progress(
        self, epoch: int, n_batches: int, noted: Mapping[str, Any], loss: Any = None, end: str | None = None
    ) -> dict[str, Any]:
        """Where the run is; all ranks ask together.

        Args:
            epoch: the one that goes on.
            n_batches: how many of its batches are done.
            noted: this rank's, by :meth:`_note`.
            loss: of the epoch, where all of its batches are done.
            end: why the run is over: ``epochs``, ``patience``; None if it is not.
        """
        return {
            "epoch": epoch,
            "n_batches": n_batches,
            "epoch_loss": list(loss) if isinstance(loss, tuple) else loss,
            "end": end,
            "n_updates": self.n_updates,
            "loss": [[number, float(value)] for number, value in self.train_loss_dict.items()],
            "valid": [[number, float(score)] for number, score in self.validated],
            "best_valid_result": plain(self.best_valid_result),
            "seconds": self.seconds_before + time.perf_counter() - self._began,
            "model_file": Path(self.saved_model_file).name,
            "data": self._data,
            "other_data": dict(self.other_data),
            "ranks": gather_objects(dict(noted)),
            **self.own_progress(),
        }

    def own_progress(self) -> dict[str, Any]:
        """What else a trainer counts: plain values by name."""
        return {}

    def take_own_progress(self, point: Mapping[str, Any]) -> None:
        """Goes on from what :meth:`own_progress` gave."""

    def keep(self, progress: Mapping[str, Any]) -> None:
        """Writes the state of the run; a disk that cannot take it is said, and the run goes on. For all ranks."""
        if self._states is not None and is_first():
            epoch = progress["epoch"] - (progress["epoch_loss"] is None)
            try:
                self._newest = self._states.write(
                    {**self.checkpoint(epoch), "run": dict(progress)}, self.n_updates, progress["end"] is not None
                )
            except OSError as error:
                before = f"the newest is {self._newest}" if self._newest else "there is none yet"
                self.logger.error(
                    f"the state behind step {self.n_updates} was not kept ({error}): the run goes on, and could be "
                    f"resumed from an earlier state only; {before}"
                )
        wait_for_all()

    def go_on_from(self, state: Mapping[str, Any], path: Path) -> None:
        """Takes the place of the trainer that kept a state; ``fit`` then goes on where that one was.

        Args:
            state: what it kept.
            path: the file of it; later states go into its folder.

        Raises:
            FileNotFoundError: the model of its best epoch is gone.
        """
        point = state["run"]
        self.saved_model_file = str(path.parent.with_name(point["model_file"]))
        if is_first() and (point["valid"] or point["end"]) and not Path(self.saved_model_file).is_file():
            raise FileNotFoundError(
                f"{self.saved_model_file}, the model of the best epoch so far, is gone, and the run in "
                f"{self.run_folder} is to end with that: put it back, or start a new run"
            )
        self.load(state)
        self.start_epoch, self.n_updates = point["epoch"], point["n_updates"]
        self.train_loss_dict = {int(epoch): loss for epoch, loss in point["loss"]}
        self.validated.extend((int(epoch), score) for epoch, score in point["valid"])
        self.best_valid_result, self.seconds_before = point["best_valid_result"], point["seconds"]
        self._point, self._newest = point, path
        self.take_own_progress(point)
        if len(point["ranks"]) != world_size():
            self.logger.warning(
                f"the run was begun by {len(point['ranks'])} processes, and {world_size()} go on with it: what "
                f"each of them draws, such as dropout, is not what it would have been"
            )

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes what :meth:`checkpoint` gave: weights, optimiser, early stopping."""
        self.model.load_state_dict(state["state_dict"])
        set_numbers(self.model, state.get("numbers", {}))
        others = (state.get("other_parameter") or {}).items()
        self.model.load_other_parameter(
            {name: value.to(self.device) if isinstance(value, torch.Tensor) else value for name, value in others}
        )
        self.optimizer.load_state_dict(state["optimizer"])
        self.cur_step = state["cur_step"]
        if state["best_valid_score"] is not None:
            self.best_valid_score = state["best_valid_score"]

    def _noted_here(self, point: Mapping[str, Any]) -> Mapping[str, Any]:
        """What this rank noted at ``point``; where there were more ranks, or fewer, the mean of what they counted."""
        ranks = point["ranks"]
        if len(ranks) == world_size():
            return ranks[rank()]
        counted = [name for name, value in ranks[0].items() if isinstance(value, (int, float))]
        return {name: sum(noted[name] for noted in ranks) / len(ranks) for name in counted}


def _without_modules(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """``other_parameter`` of RecBole's models but for modules, which some count among it: their state has these."""
    return {name: value for name, value in parameters.items() if not isinstance(value, nn.Module)}

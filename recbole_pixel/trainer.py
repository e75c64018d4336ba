"""RecBole's trainer, for models whose items are encoded."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.trainer import Trainer
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from recbole_pixel.checkpoint import read_checkpoint, rows_digest
from recbole_pixel.data.cold import trained_items
from recbole_pixel.data.loader import PixelTrainDataLoader
from recbole_pixel.data.rank_rows import RANK_TARGETS
from recbole_pixel.distributed import gather_on_host, sum_over_ranks, world_size
from recbole_pixel.encoder.precision import autocast_type
from recbole_pixel.entity_rows import rows_of_entities
from recbole_pixel.evaluation.history_mask import HistoryMaskMixin
from recbole_pixel.evaluation.rank_shares import RankShares
from recbole_pixel.evaluation.training_counts import training_counts
from recbole_pixel.fitting_transfer import fitting_transfer
from recbole_pixel.health.watching import WatchedTraining
from recbole_pixel.item_tower import IDTower, ItemTower
from recbole_pixel.parallel import averaged_over_ranks
from recbole_pixel.pretrained import Loaded, Pretrained, load_pretrained
from recbole_pixel.resumable import Resumable, Start
from recbole_pixel.training import Accumulation, fuse, learning_rate_factor, parameter_groups

CHECK_EVERY = 20  # steps between looks at the loss: each look waits for the device


class PixelTrainer(Resumable, WatchedTraining, RankShares, HistoryMaskMixin, Trainer):
    """Trains encoder and recommender with rates of their own; saves plain checkpoints.

    What RecBole's trainer does (early stopping, validation, logging) it does here too. Where several ranks train
    (:mod:`recbole_pixel.distributed`), each makes one of these, and all call the same methods.
    """

    def __init__(self, config: Any, model: Any) -> None:
        self.pretrained: Loaded | None = None
        if config["pretrained"]:  # before the optimiser is built
            source = Pretrained.read(config["pretrained"])
            own = model, model.item_table, config["item_tower"]
            transfer = config["transfer"]
            if transfer == "auto":
                transfer = fitting_transfer(source, *own, config["dataset"], config["epochs"])
            self.pretrained = load_pretrained(*own, source, transfer)
        super().__init__(config, model)
        if self.pretrained is not None:
            self.logger.info(str(self.pretrained))
        encodes = config["item_tower"] not in ("id", "features")
        self.autocast_type = autocast_type(config["precision"], torch.device(self.device), encodes)
        self.scheduler: torch.optim.lr_scheduler.LRScheduler | None = None
        self.accumulation = Accumulation(config["accumulate_steps"])
        self.over_ranks: torch.nn.parallel.DistributedDataParallel | None = None
        self.epoch_seconds: list[float] = []
        self.epoch_encoded: list[int] = []

    def _build_optimizer(self, **kwargs: Any) -> torch.optim.Optimizer:
        config = self.config
        encoder_rate = config["encoder_learning_rate"]
        groups = parameter_groups(
            self.model,
            self.model.item_table,
            config["learning_rate"],
            config["weight_decay"],
            config["learning_rate"] if encoder_rate is None else encoder_rate,
            config["encoder_weight_decay"],
            config["projection_learning_rate"],
        )
        optimizer = super()._build_optimizer(params=groups, **kwargs)
        fuse(optimizer)
        return optimizer

    @property
    def tower(self) -> Any:
        """The model's item tower."""
        return self.model.item_tower

    def fit(self, train_data: Any, valid_data: Any = None, *args: Any, **kwargs: Any) -> tuple[float, Any]:
        """RecBole's ``Trainer.fit``, after giving the loader the item inputs and fitting the features' scale."""
        if isinstance(self.tower, ItemTower):
            self.tower.shares_table = world_size() > 1
            if isinstance(train_data, PixelTrainDataLoader) and not self.model.reads_all_items:
                train_data.inputs = self.tower.inputs  # type: ignore[assignment]
                self.tower.shares_steps = train_data.gathers and world_size() > 1
            if self.tower.own is not None:
                self.tower.take_counts(_counts(train_data))
            if self.start_epoch == 0 and not self.goes_on:
                self.tower.fit_standardising()
        if world_size() > 1:
            self.over_ranks = averaged_over_ranks(self.model)
        self.rows = rows_digest(train_data._dataset, *self._fields_with_rows())
        self.trained_items = trained_items(train_data._dataset)
        per_epoch = -(-len(train_data) // self.accumulation.n_batches)
        n_steps = per_epoch * self.epochs
        if not self.goes_on:
            self.n_updates = per_epoch * self.start_epoch
        n_done = self.n_updates
        factor = learning_rate_factor(self.config["lr_schedule"], self.config["warmup_steps"], n_steps)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: factor(n_done + step))
        return super().fit(train_data, valid_data, *args, **kwargs)

    def _fields_with_rows(self) -> list[str]:
        """Which of users and items the model has tables of, a row for each."""
        of = {*rows_of_entities(self.model).values(), *(["item"] if self._has_item_rows() else [])}
        return [self.config[f"{entity.upper()}_ID_FIELD"] for entity in sorted(of)]

    def _has_item_rows(self) -> bool:
        return isinstance(self.tower, IDTower) or getattr(self.tower, "own", None) is not None

    def _train_rest(self, train_data: Any, epoch: int, start: Start, loss_func: Any, show_progress: bool) -> float:
        """Trains the batches of an epoch from ``start`` on; returns the sum of the losses of all its steps."""
        noted = {"seconds": 0.0, "n_encoded": 0, "loss": 0.0, **start.noted}
        began, encoded = time.perf_counter() - noted["seconds"], self.tower.n_encoded - noted["n_encoded"]
        self.model.train()
        self.accumulation = Accumulation(self.accumulation.n_batches)  # of an epoch that was interrupted, nothing stays
        loss_func = loss_func or self.over_ranks or self.model.calculate_loss
        total = torch.tensor(noted["loss"], device=self.device)

        def note() -> dict[str, Any]:
            self._check_nan(total)
            own = {"seconds": time.perf_counter() - began, "n_encoded": self.tower.n_encoded - encoded}
            return self._note(train_data, loss=total.item(), **own)

        if isinstance(train_data, PixelTrainDataLoader):
            train_data.start_at(epoch, start.n_batches)
        name, n_batches = f"Train {epoch:>5}", len(train_data)
        progress = tqdm(train_data, name, n_batches, disable=not show_progress, unit="batch", initial=start.n_batches)
        for n_done, interaction in enumerate(progress, start.n_batches + 1):
            with self._gradients_of(n_done == n_batches):
                total += self._train_step(interaction.to(self.device), loss_func)
            if n_done % CHECK_EVERY == 1:
                self._check_nan(total)
            if not self.accumulation.n_done and n_done < n_batches:
                self._behind_update(epoch, n_done, note)
        if self.accumulation.n_done:
            self._update()
        total = sum_over_ranks(total) / world_size()
        self._check_nan(total)
        self.epoch_seconds.append(time.perf_counter() - began)
        self.epoch_encoded.append(int(gather_on_host(torch.tensor([self.tower.n_encoded - encoded])).sum()))
        return total.item()

    def _gradients_of(self, is_last: bool) -> AbstractContextManager[Any]:
        """Within it, ranks keep their gradients to themselves unless the optimiser steps behind the batch."""
        if self.over_ranks is None or is_last or self.accumulation.is_last:
            return nullcontext()
        return self.over_ranks.no_sync()

    def _train_step(self, interaction: Any, loss_func: Any) -> torch.Tensor:
        if not self.accumulation.n_done:
            self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, self.autocast_type, enabled=self.autocast_type is not None):
            losses = loss_func(interaction)
        loss = torch.stack(losses).sum() if isinstance(losses, tuple) else losses
        loss = loss.sum()  # RecBole's EmbLoss makes it of shape (1,)
        self.saw_loss(losses, loss)
        loss, n_targets = self._counted(loss, interaction)
        self.accumulation.backward(loss, n_targets)
        if self.accumulation.is_full:
            self._update()
        return loss.detach()

    def _counted(self, loss: torch.Tensor, interaction: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """A loss such that its mean over ranks is that of the whole batch; how many targets that batch has."""
        if RANK_TARGETS not in interaction:
            return loss, (interaction[self.config["ITEM_ID_FIELD"]] > 0).sum()
        n_own, n_targets = interaction[RANK_TARGETS]
        return loss * (n_own * world_size() / n_targets), n_targets

    def _update(self) -> None:
        self.accumulation.finish(self.model.parameters())
        if self.clip_grad_norm:
            clip_grad_norm_(self.model.parameters(), **self.clip_grad_norm)
        self.optimizer.step()
        self.n_updates += 1
        if self.scheduler is not None:
            self.scheduler.step()

    def checkpoint(self, epoch: int) -> dict[str, Any]:
        """As of every trainer, and which table is the items'."""
        return {**super().checkpoint(epoch), "item_table": self.model.item_table}

    def own_progress(self) -> dict[str, Any]:
        """Cost of the epochs so far, what was loaded to start with, the size of a step's chunks, what was noticed."""
        return {
            "epoch_seconds": list(self.epoch_seconds),
            "epoch_encoded": list(self.epoch_encoded),
            "pretrained": None if self.pretrained is None else self.pretrained._asdict(),
            "train_chunk": getattr(self.tower, "train_chunk", None),
            "health": self.seen_so_far(),
        }

    def take_own_progress(self, point: Mapping[str, Any]) -> None:
        """Goes on from what :meth:`own_progress` gave."""
        self.epoch_seconds, self.epoch_encoded = list(point["epoch_seconds"]), list(point["epoch_encoded"])
        self.take_seen(point.get("health"))
        self.pretrained = None if point["pretrained"] is None else Loaded(**point["pretrained"])
        if getattr(self.tower, "train_chunk", None) == "auto":
            self.tower.train_chunk = point["train_chunk"]

    def resume_checkpoint(self, resume_file: str) -> None:
        """Continues from a checkpoint of ours: of a run's last state, as it was; of its best epoch, behind that."""
        checkpoint = read_checkpoint(resume_file)
        if "run" in checkpoint:
            self.go_on_from(checkpoint, Path(resume_file))
            return
        self.saved_model_file = str(resume_file)
        self.start_epoch = checkpoint["epoch"] + 1
        self.load(checkpoint)


def _counts(train_data: Any) -> torch.Tensor:
    """How often each item is in the training rows, (N,)."""
    counts = train_data.counts if isinstance(train_data, PixelTrainDataLoader) else training_counts(train_data._dataset)
    return torch.from_numpy(np.asarray(counts, dtype=np.float32))

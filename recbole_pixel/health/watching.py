"""What lets a trainer be looked at: the places in RecBole's loop where there is something to see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from recbole_pixel.data.pictures import open_image_store
from recbole_pixel.data.stored_features import open_feature_store
from recbole_pixel.distributed import is_first, world_size
from recbole_pixel.health.monitor import Health, Plan, advice_without_looking
from recbole_pixel.health.notes import Notes
from recbole_pixel.health.pictures import largest_group, sampled, tell_missing, tell_shared
from recbole_pixel.health.popular import popularity_score
from recbole_pixel.health.progress import Progress, chance_of


class WatchedTraining:
    """Put before a RecBole trainer class whose model has an item tower.

    The trainer calls :meth:`saw_loss` in every step, and :meth:`_check_nan` wherever it looks at the loss.

    Attributes:
        health: looks at the run while it is fitted; None without ``health``.
        notes: what was noticed.
    """

    health: Health | None = None
    model: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.notes = Notes(speaks=is_first())
        self._seen: Mapping[str, Any] | None = None

    def fit(self, train_data: Any, valid_data: Any = None, *args: Any, **kwargs: Any) -> tuple[float, Any]:
        """RecBole's ``Trainer.fit``, looked at where ``health`` says so."""
        trainer: Any = self
        if not trainer.config["health"]:
            return super().fit(train_data, valid_data, *args, **kwargs)  # type: ignore[misc]
        self.notes.epoch = trainer.start_epoch
        self.health = self._health(train_data, valid_data)
        if self._seen is not None:
            self.health.take(self._seen)
        self._look_at_pictures(train_data._dataset)
        found: tuple[float, Any] = super().fit(train_data, valid_data, *args, **kwargs)  # type: ignore[misc]
        last = max(trainer.train_loss_dict, default=-1)
        self.health.end(is_exhausted=last == trainer.epochs - 1)
        return found

    def seen_so_far(self) -> dict[str, Any] | None:
        """What was noticed, and what later steps are compared with, as plain values; None without ``health``."""
        return None if self.health is None else {"notes": self.notes.plain(), **self.health.plain()}

    def take_seen(self, seen: Mapping[str, Any] | None) -> None:
        """Goes on from what :meth:`seen_so_far` gave in an earlier part of the run, if it kept that."""
        self._seen = seen
        if seen is not None:
            self.notes.take(seen["notes"])

    def _health(self, train_data: Any, valid_data: Any) -> Health:
        trainer: Any = self
        config, dataset = trainer.config, train_data._dataset
        n_batches = config["accumulate_steps"] or 1
        plan = Plan(
            n_steps=-(-len(train_data) // n_batches) * max(1, trainer.epochs),
            n_warm_up=config["warmup_steps"] or 0,
            n_done=trainer.n_updates,
            n_batches=n_batches,
            tokens=dataset.field2id_token[dataset.iid_field],
            seed=config["seed"],
        )
        progress = Progress(
            self.notes,
            str(trainer.valid_metric).lower(),
            bool(trainer.valid_metric_bigger),
            chance_of(str(trainer.valid_metric), dataset.item_num - 1, len(valid_data.sampler) if valid_data else 0),
            lambda: popularity_score(trainer, dataset, lambda: self._score_of(valid_data)),
            is_control=bool(config["shuffle_images"] or config["shuffle_texts"]),
        )
        model = trainer.model
        return Health(model, model.item_table, model.item_tower, trainer.optimizer, self.notes, plan, progress)

    def _look_at_pictures(self, dataset: Any) -> None:
        config: Any = self.config  # type: ignore[attr-defined]
        made_of, items = config["item_tower"], [str(token) for token in dataset.field2id_token[dataset.iid_field][1:]]
        setting = f"missing_image: {config['missing_image']}"
        if made_of in ("image", "image_text") or (made_of == "vlm" and "image" in (config["modalities"] or ())):
            store = open_image_store(config)
            known = set(store.tokens())
            tell_missing(self.notes, items, known, "pictures", setting)
            some = sampled([token for token in items if token in known], config["seed"])
            tell_shared(self.notes, largest_group(some, store.read), len(some))
        elif made_of == "features":
            tell_missing(self.notes, items, open_feature_store(config).tokens, "stored features", setting)

    def _score_of(self, valid_data: Any) -> float:
        """The score of a validation that is not looked at."""
        return float(super()._valid_epoch(valid_data)[0])  # type: ignore[misc]

    def saw_loss(self, losses: Tensor | Sequence[Tensor], loss: Tensor) -> None:
        """Takes what the model's loss function returned, and their sum.

        Raises:
            FloatingPointError: the loss is no number; on a CPU, where looking costs nothing, before its backward.
        """
        if self.health is None:
            return
        terms: Mapping[str, Tensor] = getattr(self.model, "loss_terms", {})
        if isinstance(losses, tuple):
            terms = {**terms, **{f"term {place} of {len(losses)}": term for place, term in enumerate(losses, 1)}}
        self.health.saw_loss(loss, terms)
        if loss.device.type == "cpu" and world_size() == 1 and not torch.isfinite(loss):
            raise FloatingPointError(self.health.not_finite(loss.item()))

    def _check_nan(self, loss: Tensor) -> None:
        """RecBole's ``Trainer._check_nan``, for a sum of losses; reads what was looked at, as it waits anyway."""
        if not torch.isfinite(loss):
            told = self.health.not_finite if self.health is not None else advice_without_looking
            raise FloatingPointError(told(loss.item()))
        if self.health is not None:
            self.health.read()

    def _generate_train_loss_output(self, epoch_idx: int, s_time: float, e_time: float, losses: Any) -> str:
        """RecBole's line of an epoch, which is where it tells the epoch's loss."""
        if self.health is not None:
            self.health.after_epoch(epoch_idx, float(losses))
        line: str = super()._generate_train_loss_output(epoch_idx, s_time, e_time, losses)  # type: ignore[misc]
        return line

    def _valid_epoch(self, valid_data: Any, show_progress: bool = False) -> tuple[float, Any]:
        """RecBole's ``Trainer._valid_epoch``; looks at its score, and at the vectors that it ranked by."""
        found: tuple[float, Any] = super()._valid_epoch(valid_data, show_progress)  # type: ignore[misc]
        if self.health is not None:
            trainer: Any = self
            self.health.after_validation(float(found[0]), trainer.model.item_tower.kept_table)
        return found

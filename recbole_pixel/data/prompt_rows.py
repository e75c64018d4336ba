"""The dataset and the loader of models that read prompts: single rows in any order, of one dataset or of several."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction

from recbole_pixel.data.dataset import PixelSequentialDataset
from recbole_pixel.data.loader import PixelTrainDataLoader
from recbole_pixel.data.plan import BatchPlan, PrefixPlan, RowPlan
from recbole_pixel.data.rows import expand_prefixes, newest_rows

SOURCE = "source_dataset"  # field: which of the datasets a batch is from, the run's own being 0, (1,)


class SingleRowPlan(PrefixPlan):
    """A row per target, each on its own: a user's other targets are no better negatives than anybody's.

    Batches are of equal size but for one row: none is so small that there is nothing to contrast. ``rows_per_user``
    counts targets.
    """

    def __init__(self, dataset: Any) -> None:
        super().__init__(dataset)
        self.windows, self.targets = expand_prefixes(self.chunks, dataset.chunk_owner_start, self.max_length)
        newest = dataset.config["rows_per_user"]
        if newest:
            users = dataset.histories.users[self.targets]
            kept = newest_rows(np.arange(len(users)), users, newest)
            self.windows, self.targets = self.windows[kept], self.targets[kept]
        self.n_rows = len(self.targets)

    def batches(self, rng: np.random.Generator | None, size: int) -> Iterator[BatchPlan]:
        """An epoch in batches of ``size`` rows, or one less."""
        order = np.arange(self.n_rows) if rng is None else rng.permutation(self.n_rows)
        for part in np.array_split(order, max(1, -(-self.n_rows // size))):
            window = self.windows[part]
            yield self._batch(window.start, window.length, self.targets[part, None], self.max_length)


class PromptDataset(PixelSequentialDataset):
    """A sequential dataset whose rows are told in prompts.

    Attributes:
        companions: training parts of further datasets that a joint stage trains on; set on the training part.
    """

    companions: tuple[PromptDataset, ...] = ()

    def build(self) -> list[Dataset]:
        """Train, validation and test parts, the first with its companions."""
        parts = super().build()
        if self.config["stage"] == "joint":
            parts[0].companions = tuple(self._companion(name) for name in self.config["joint_datasets"])
        return parts

    def _companion(self, name: str) -> PromptDataset:
        """The training part of another dataset; what it holds out for its own evaluation is not trained on either."""
        config, folder = copy.copy(self.config), Path(self.config["data_path"]).parent / name
        if not (folder / f"{name}.inter").is_file():
            raise FileNotFoundError(f"joint_datasets names {name!r}, and there is no {folder / name}.inter")
        own = {"dataset": name, "data_path": str(folder), "stage": "single", "images": None, "cache_dir": None}
        config.final_config_dict = {**self.config.final_config_dict, **own}
        config.dataset = name
        return type(self)(config).build()[0]

    def row_plan(self, train_rows: str) -> RowPlan:
        """A row per target, whatever ``train_rows`` says: models that read prompts take ``prefix`` alone."""
        return SingleRowPlan(self)


class PromptTrainDataLoader(PixelTrainDataLoader):
    """Batches of single rows; in a joint stage each is of one dataset, and all datasets' batches come in any order.

    A dataset comes as often as it has batches. Ranks each fetch what their own rows need.
    """

    def __init__(self, config: Any, dataset: Any, sampler: Any, shuffle: bool = True) -> None:
        super().__init__(config, dataset, sampler, shuffle=shuffle)
        self.gathers = False  # what is contrasted over ranks is vectors, not pictures
        self.others = [PixelTrainDataLoader(other.config, other, None, shuffle) for other in dataset.companions]
        for other in self.others:
            other.gathers = False

    def __len__(self) -> int:
        return super().__len__() + sum(map(len, self.others))

    def __iter__(self) -> Iterator[Interaction]:
        if not self.others:
            return super().__iter__()
        return self._mixed()

    def _mixed(self) -> Iterator[Interaction]:
        rng = np.random.default_rng([self.config["seed"], self.epoch, len(self.others)])
        lengths = [PixelTrainDataLoader.__len__(self), *map(len, self.others)]
        order = rng.permutation(np.repeat(np.arange(len(lengths)), lengths))
        passed = np.bincount(order[: self.n_passed], minlength=len(lengths)).tolist()
        order = order[self.n_passed :]
        for loader, n_batches in zip((self, *self.others), passed, strict=True):
            loader.start_at(self.epoch, n_batches)
        iterators = [super().__iter__(), *map(iter, self.others)]
        for source in order:
            batch = next(iterators[source])
            batch[SOURCE] = torch.tensor([source])
            yield batch

"""RecBole's own datasets, sorted exactly, split alike for all models, with each row's place in its user's history."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from recbole.data.dataset import (
    Dataset,
    DIENDataset,
    GRU4RecKGDataset,
    KSRDataset,
    SequentialDataset,
)
from recbole.data.interaction import Interaction
from recbole.utils import FeatureType

from recbole_pixel.data.enough import check_parts
from recbole_pixel.data.fast_loading import FastLoading
from recbole_pixel.data.history import HISTORY_LENGTH, HISTORY_START, Histories
from recbole_pixel.data.rows import user_starts
from recbole_pixel.data.sorting import order_by_time

ROWS_AT_A_TIME = 1 << 16


class TimeOrder(FastLoading):
    """Put before a dataset of RecBole: sorts by user and time before RecBole rounds the times to float32.

    That keeps 128 s apart at today's dates in seconds, two minutes in milliseconds (recbole/data/dataset/dataset.py,
    ``_dataframe_to_interaction``). Interactions of one time keep the order of the file. Files that are split already
    (``benchmark_filename``) and random orders are left as they are.
    """

    inter_feat: Any  # a DataFrame, then an Interaction

    @property
    def is_ordered(self) -> bool:
        """Whether time orders and splits the interactions."""
        dataset: Any = self
        return dataset.benchmark_filename_list is None and dataset.config["eval_args"]["order"] == "TO"

    def _change_feat_format(self) -> None:
        if self.is_ordered:
            self._sort_exactly()
        super()._change_feat_format()  # type: ignore[misc]

    def _sort_exactly(self) -> None:
        order = self._exact_order()
        if order is not None:
            self.inter_feat = self.inter_feat.take(order).reset_index(drop=True)

    def _exact_order(self) -> np.ndarray | None:
        """Positions that put the interactions in the order of users and times; None where they are."""
        dataset: Any = self
        if dataset.time_field not in self.inter_feat:
            raise ValueError(
                f"{dataset.dataset_name}.inter has no column {dataset.time_field!r} (or load_col leaves it out), which "
                f"puts each user's items in order; set TIME_FIELD to the column that does"
            )
        if dataset.field2type[dataset.time_field] != FeatureType.FLOAT:
            kind = dataset.field2type[dataset.time_field].value
            raise ValueError(
                f"{dataset.dataset_name}.inter calls {dataset.time_field!r} a {kind}, "
                f"and tokens have no order but that in which they appear; write the times as numbers, and name them "
                f"{dataset.time_field}:float"
            )
        columns = (self.inter_feat[field].to_numpy() for field in (dataset.uid_field, dataset.time_field))
        return order_by_time(*columns)


class Tracked(TimeOrder):
    """Put before a sequential dataset of RecBole: each row says where its user's history begins and how long it is.

    The evaluation masks by it.
    """

    histories: Histories

    def build(self) -> list[Dataset]:
        """Train, validation and test parts by RecBole's splits.

        Raises:
            ValueError: there is nothing to train on.
        """
        parts: list[Dataset] = super().build()  # type: ignore[misc]
        check_parts(self, parts)
        return parts

    def data_augmentation(self) -> None:
        """RecBole's rows, and the place of each."""
        dataset: Any = self
        users = self.inter_feat[dataset.uid_field].numpy()
        self.histories = Histories(users, self.inter_feat[dataset.iid_field].numpy().copy())
        starts = user_starts(users)
        targets = np.flatnonzero(starts < np.arange(len(users)))
        length = targets - starts[targets]
        self._make_rows(targets, length)
        places = {HISTORY_START: starts[targets], HISTORY_LENGTH: length}
        self.inter_feat.update(Interaction({field: torch.from_numpy(place) for field, place in places.items()}))

    def _make_rows(self, targets: np.ndarray, length: np.ndarray) -> None:
        """RecBole's ``data_augmentation`` without its loops over rows.

        Args:
            targets: positions of the targets among the interactions, (R,).
            length: how many interactions each one's user had before, (R,).
        """
        dataset: Any = self
        dataset._aug_presets()
        index, length = torch.from_numpy(targets), np.minimum(length, dataset.max_item_list_len)
        rows = {field: self.inter_feat[field][index] for field in self.inter_feat}
        for field in self.inter_feat:
            if field != dataset.uid_field:
                histories = window_values(self.inter_feat[field], targets - length, length, dataset.max_item_list_len)
                rows[getattr(dataset, f"{field}_list_field")] = histories
        self.inter_feat = Interaction({**rows, dataset.item_list_length_field: torch.from_numpy(length)})


def window_values(values: torch.Tensor, start: np.ndarray, length: np.ndarray, max_length: int) -> torch.Tensor:
    """Windows of ``values`` (n, ...), padded on the right with 0: (R, max_length, ...).

    Args:
        values: numbers.
        start: first positions, (R,).
        length: how many each window takes, (R,); at most ``max_length``.
        max_length: width of the result.
    """
    windows = torch.zeros((len(start), max_length, *values.shape[1:]), dtype=values.dtype)
    for first in range(0, len(start), ROWS_AT_A_TIME):
        part = slice(first, first + ROWS_AT_A_TIME)
        inside = np.arange(max_length) < length[part, None]
        places = (start[part, None] + np.arange(max_length))[inside]
        windows[part][torch.from_numpy(inside)] = values[torch.from_numpy(places)]
    return windows


class TrackedSequentialDataset(Tracked, SequentialDataset):
    """RecBole's rows, sorted exactly and tracked."""


class TrackedDIENDataset(Tracked, DIENDataset):
    """The same for DIEN, whose rows carry negative histories."""

    def _make_rows(self, targets: np.ndarray, length: np.ndarray) -> None:
        DIENDataset.data_augmentation(self)


class TrackedGRU4RecKGDataset(Tracked, GRU4RecKGDataset):
    """The same for GRU4RecKG, which reads a knowledge graph."""


class TrackedKSRDataset(Tracked, KSRDataset):
    """The same for KSR, which reads a knowledge graph."""


class TimeSplitDataset(TimeOrder, Dataset):
    """RecBole's dataset of user-item pairs, split as its sequential datasets are.

    These split rows that have a history: a user's first interaction is no target and is always trained on. RecBole's
    general dataset splits all interactions, so that a user of two has a test item here and none there, and one of three
    a validation item. For one comparison, first interactions are trained on here, too, and the rest is split; all
    models then are evaluated on the same targets of the same users.
    """

    _first: Interaction | None = None

    def _change_feat_format(self) -> None:
        super()._change_feat_format()
        if self.is_ordered:
            self._set_first_apart()

    def _set_first_apart(self) -> None:
        users = self.inter_feat[self.uid_field].numpy()
        is_first = user_starts(users) == np.arange(len(users))
        self._first, self.inter_feat = (
            Interaction({field: self.inter_feat[field][torch.from_numpy(index)] for field in self.inter_feat})
            for index in (np.flatnonzero(is_first), np.flatnonzero(~is_first))
        )

    def build(self) -> list[Dataset]:
        """Train, validation and test parts by RecBole's splits."""
        parts = super().build()
        if self._first is not None:
            train = parts[0].inter_feat
            joined = {field: torch.cat([self._first[field], train[field]]) for field in train}
            parts[0].inter_feat = Interaction(joined)
            parts[0].inter_feat.sort(by=self.uid_field)  # stable: a user's first interaction comes first
        check_parts(self, parts)
        return parts


EXACT: dict[type, type] = {
    Dataset: TimeSplitDataset,
    SequentialDataset: TrackedSequentialDataset,
    DIENDataset: TrackedDIENDataset,
    GRU4RecKGDataset: TrackedGRU4RecKGDataset,
    KSRDataset: TrackedKSRDataset,
}
"""RecBole's datasets and what stands for them in our command."""

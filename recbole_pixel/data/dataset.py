"""RecBole's sequential dataset with rows as windows, exact time order, and held-out (cold) items."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from recbole.data.dataset import Dataset, SequentialDataset
from recbole.data.interaction import Interaction

from recbole_pixel.data.history import HISTORY_LENGTH, HISTORY_START, Histories
from recbole_pixel.data.items import PixelItems
from recbole_pixel.data.plan import PrefixPlan, RowPlan, SequencePlan, chosen_plan
from recbole_pixel.data.rows import Rows, chunk_targets, gather_windows, newest_rows, user_starts
from recbole_pixel.data.tracked import TimeOrder


class PixelSequentialDataset(PixelItems, TimeOrder, SequentialDataset):
    """One row per target, as RecBole's, but gathered when asked for instead of stored.

    Filters, id mapping and splits are RecBole's.

    Attributes:
        histories: all interactions that rows are cut from; those of cold items are not among them.
        chunks: training rows with a loss at every position; set on the training part by :meth:`build`.
    """

    histories: Histories
    chunks: Rows
    chunk_owner_start: np.ndarray

    def data_augmentation(self) -> None:
        """Turns interactions into one row per target; called by RecBole when it converts the features."""
        self._aug_presets()
        self._hold_out_cold_items()
        users, items = self.inter_feat[self.uid_field].numpy(), self.inter_feat[self.iid_field].numpy()
        self.histories = Histories(users, items)
        starts = user_starts(users)
        targets = np.flatnonzero(starts < np.arange(len(users)))
        rows = {field: self.inter_feat[field][targets] for field in self.inter_feat}
        history = torch.from_numpy(targets - starts[targets])
        rows[HISTORY_START] = torch.from_numpy(starts[targets])
        rows[HISTORY_LENGTH] = history
        rows[self.item_list_length_field] = history.clamp(max=self.max_item_list_len)
        self.inter_feat = Interaction(rows)

    def build(self) -> list[Dataset]:
        """Train, validation and test parts by RecBole's splits; the training part with its chunks."""
        parts = super().build()
        train = parts[0]
        targets = np.sort((train.inter_feat[HISTORY_START] + train.inter_feat[HISTORY_LENGTH]).numpy())
        train.chunks = chunk_targets(targets, self._targets_per_row())
        users = self.histories.users
        if self.config["rows_per_user"]:
            train.chunks = newest_rows(train.chunks, users[train.chunks.start], self.config["rows_per_user"])
        train.chunk_owner_start = user_starts(users)[train.chunks.start]
        return parts

    def _targets_per_row(self) -> int:
        n_targets, longest = self.config["row_targets"], self.max_item_list_len
        if n_targets is not None and not 1 <= n_targets <= longest:
            raise ValueError(f"row_targets is {n_targets}; expected 1 to MAX_ITEM_LIST_LENGTH, which is {longest}")
        return n_targets or longest

    def row_plan(self, train_rows: str) -> RowPlan:
        """What an epoch's rows are: a loss at every position (``sequence``), or a row per target (``prefix``)."""
        return chosen_plan({"sequence": SequencePlan, "prefix": PrefixPlan}, train_rows)(self)

    def __getitem__(self, index: Any, join: bool = True) -> Interaction:
        """Rows with their histories gathered: ``item_id_list`` of shape (B, L), padded on the right with 0."""
        index = torch.as_tensor(np.asarray(index) if not isinstance(index, (slice, torch.Tensor)) else index)
        rows = Interaction({field: self.inter_feat[field][index] for field in self.inter_feat})
        length = rows[self.item_list_length_field].numpy()
        start = (rows[HISTORY_START] + rows[HISTORY_LENGTH]).numpy() - length
        window = gather_windows(self.histories.items, start, length, self.max_item_list_len)
        rows.update(Interaction({self.item_id_list_field: torch.from_numpy(window)}))
        return self.join(rows) if join else rows

"""RecBole's sequential dataset with rows as windows, exact time order, and held-out (cold) items."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.data.dataset import Dataset, SequentialDataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureType
from torch import Tensor

from recbole_pixel.data.enough import check_parts
from recbole_pixel.data.history import HISTORY_LENGTH, HISTORY_START, FlatColumns, Histories, NarrowIds
from recbole_pixel.data.items import PixelItems
from recbole_pixel.data.plan import PrefixPlan, RowPlan, SequencePlan, chosen_plan
from recbole_pixel.data.rows import Rows, chunk_targets, gather_windows, newest_rows, places_in, runs_of
from recbole_pixel.data.sorting import counts_of, take
from recbole_pixel.data.splitting import UserSplit
from recbole_pixel.data.tracked import TimeOrder


class PixelSequentialDataset(PixelItems, TimeOrder, SequentialDataset):
    """One row per target, as RecBole's, but gathered when asked for instead of stored.

    Filters, id mapping and splits are RecBole's. Interactions lie in flat columns, sorted by user and time, which all
    parts share; a part is a list of stretches of targets. ``inter_feat``, RecBole's table of rows, is made when
    something asks for it, which our training and evaluation do not.

    Attributes:
        histories: all interactions that rows are cut from; those of cold items are not among them.
        target_runs: stretches of the flat columns whose elements are this part's targets.
        chunks: training rows with a loss at every position; set on the training part by :meth:`build`.
        chunk_owner_start: where the user of each chunk begins in the flat columns.
    """

    columns: FlatColumns
    histories: Histories
    user_offsets: np.ndarray  # where each user id begins, and the end of the last, (user_num + 1,)
    target_runs: Rows
    chunks: Rows
    chunk_owner_start: np.ndarray
    _rows: Any = None
    _is_splitting = False

    @property
    def inter_feat(self) -> Any:
        """RecBole's: a DataFrame while it loads, then an Interaction of one row per target."""
        if self._rows is None and "target_runs" in self.__dict__:
            self._rows = self.rows_of(self.targets)
        return self._rows

    @inter_feat.setter
    def inter_feat(self, rows: Any) -> None:
        """Replaces them; None for those of :attr:`targets`, made when asked for."""
        self._rows = rows

    @property
    def inter_num(self) -> int:
        """Number of rows."""
        return len(self)

    def __len__(self) -> int:
        return int(self.target_runs.length.sum()) if self._rows is None else len(self._rows)

    @cached_property
    def targets(self) -> np.ndarray:
        """Positions of this part's targets in the flat columns, in RecBole's order of rows."""
        return places_in(self.target_runs)

    def _sort_exactly(self) -> None:
        """Moves the sorted columns out of ``inter_feat``; RecBole converts the row that stays."""
        order, frame = self._exact_order(), self.inter_feat
        self.inter_feat = frame.head(1).copy()
        self.columns = FlatColumns({field: self._flat(field, frame.pop(field), order) for field in list(frame)})

    def _flat(self, field: str, values: pd.Series, order: np.ndarray | None) -> Tensor:
        kind = self.field2type[field]
        if kind == FeatureType.TOKEN:
            width = np.int32 if self.num(field) < 2**31 else np.int64
            return torch.from_numpy(take(values.to_numpy(), order, width))
        if kind == FeatureType.FLOAT and field not in self.config["numerical_features"]:
            return torch.from_numpy(take(values.to_numpy(), order, np.float32))
        in_order = pd.DataFrame({field: values if order is None else values.take(order)})
        return self._dataframe_to_interaction(in_order)[field]

    def data_augmentation(self) -> None:
        """Turns interactions into one row per target; called by RecBole when it converts the features."""
        self._aug_presets()
        warm = self._hold_out_cold_items(self.columns[self.uid_field].numpy(), self.columns[self.iid_field].numpy())
        if warm is not None:
            self.columns = self.columns.at(warm)
        users = self.columns[self.uid_field].numpy()
        items = self.columns[self.iid_field].numpy()
        self.histories = Histories(users.view(NarrowIds), items.view(NarrowIds))
        counts = counts_of(users, self.user_num)
        self.user_offsets = np.append(0, np.cumsum(counts))
        self.target_runs = Rows(self.user_offsets[:-1] + 1, np.maximum(counts - 1, 0))
        self.inter_feat = None
        if self._is_splitting and self._splits_by_user:
            self.inter_feat = self.rows_of(self._user_split.sample)

    @property
    def _splits_by_user(self) -> bool:
        """Whether how a user's rows are split depends on nothing but their number."""
        how = self.config["eval_args"]
        return "LS" in how["split"] or ("RS" in how["split"] and how["group_by"] == "user")

    @cached_property
    def _user_split(self) -> UserSplit:
        return UserSplit(self.target_runs)

    def rows_of(self, targets: np.ndarray) -> Interaction:
        """The rows of ``targets`` (B,), positions in the flat columns, without their histories."""
        rows = self.columns.gathered(targets)
        start = self.user_offsets[rows[self.uid_field].numpy()]
        history = torch.from_numpy(targets - start)
        rows[HISTORY_START] = torch.from_numpy(start)
        rows[HISTORY_LENGTH] = history
        rows[self.item_list_length_field] = history.clamp(max=self.max_item_list_len)
        return Interaction(rows)

    def build(self) -> list[Dataset]:
        """Train, validation and test parts by RecBole's splits; the training part with its chunks."""
        self._is_splitting = True
        parts = super().build()
        runs = self._runs_of([self._targets_in(part.inter_feat) for part in parts])
        columns = self.columns.only(set(self.inter_feat.columns))
        self._is_splitting, self.inter_feat = False, None
        for part, part_runs in zip(parts, runs, strict=True):
            part.columns, part.target_runs, part.inter_feat, part._is_splitting = columns, part_runs, None, False
            for of_the_whole in ("targets", "_user_split"):
                part.__dict__.pop(of_the_whole, None)
        check_parts(self, parts)
        self._cut_chunks(parts[0])
        return parts

    @staticmethod
    def _targets_in(rows: Interaction) -> np.ndarray:
        return (rows[HISTORY_START] + rows[HISTORY_LENGTH]).numpy()

    def _runs_of(self, targets: list[np.ndarray]) -> list[Rows]:
        """Each part's stretches of targets in RecBole's order, from those that RecBole put in it."""
        if not self._splits_by_user:
            return [Rows(part, np.ones_like(part)) for part in targets]
        return self._user_split.parts(targets, self.columns[self.time_field].numpy())

    def _cut_chunks(self, train: Any) -> None:
        runs = self.target_runs
        users = self.histories.users
        in_order = train.target_runs[np.argsort(train.target_runs.start, kind="stable")]
        if not self._splits_by_user:
            in_order = runs_of(in_order.start)
        train.chunks = chunk_targets(in_order, self._targets_per_row())
        if self.config["rows_per_user"]:
            train.chunks = newest_rows(train.chunks, users[train.chunks.start], self.config["rows_per_user"])
        train.chunk_owner_start = runs.start[users[train.chunks.start]] - 1

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
        index = index if isinstance(index, slice) else np.asarray(index)
        if self._rows is None:
            rows = self.rows_of(self.targets[index])
        else:
            place = index if isinstance(index, slice) else torch.from_numpy(index)
            rows = Interaction({field: self._rows[field][place] for field in self._rows})
        length = rows[self.item_list_length_field].numpy()
        window = gather_windows(self.histories.items, self._targets_in(rows) - length, length, self.max_item_list_len)
        rows.update(Interaction({self.item_id_list_field: torch.from_numpy(window)}))
        return self.join(rows) if join else rows

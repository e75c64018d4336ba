"""RecBole's sequential dataset, sorted exactly and with each row's place in its user's history."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from recbole.data.dataset import SequentialDataset
from recbole.data.interaction import Interaction

from recbole_pixel.data.history import HISTORY_LENGTH, HISTORY_START, Histories
from recbole_pixel.data.rows import user_starts


class TimeOrderedDataset(SequentialDataset):
    """Sorts by user and time before RecBole rounds the times to float32.

    That keeps 128 s apart at today's dates in seconds, two minutes in milliseconds (recbole/data/dataset/dataset.py,
    ``_dataframe_to_interaction``). Interactions of one time keep the order of the file.
    """

    inter_feat: Any  # a DataFrame, then an Interaction

    def _change_feat_format(self) -> None:
        if self.time_field not in self.inter_feat:
            raise ValueError(
                f"{self.dataset_name}.inter has no column {self.time_field!r} (or load_col leaves it out), which "
                f"puts each user's items in order; set TIME_FIELD to the column that does"
            )
        self.inter_feat = self.inter_feat.sort_values(
            [self.uid_field, self.time_field], kind="stable", ignore_index=True
        )
        super()._change_feat_format()


class TrackedSequentialDataset(TimeOrderedDataset):
    """RecBole's rows, each with where its user's history begins and how long it is, for the evaluation's mask."""

    histories: Histories

    def data_augmentation(self) -> None:
        """RecBole's, and the place of each row."""
        users = self.inter_feat[self.uid_field].numpy()
        self.histories = Histories(users, self.inter_feat[self.iid_field].numpy().copy())
        starts = user_starts(users)
        targets = np.flatnonzero(starts < np.arange(len(users)))
        super().data_augmentation()
        places = {HISTORY_START: starts[targets], HISTORY_LENGTH: targets - starts[targets]}
        self.inter_feat.update(Interaction({field: torch.from_numpy(place) for field, place in places.items()}))

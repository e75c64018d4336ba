"""RecBole's dataset of user-item pairs for pixel models."""

from __future__ import annotations

import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction

from recbole_pixel.data.history import Histories
from recbole_pixel.data.items import PixelItems
from recbole_pixel.data.plan import PairPlan, RowPlan, chosen_plan
from recbole_pixel.data.tracked import TimeSplitDataset


class PixelGeneralDataset(PixelItems, TimeSplitDataset):
    """Training pairs, split as the rows of sequential models are, with held-out (cold) items.

    Attributes:
        histories: all interactions but those of cold items; set where time orders them.
        pairs: on the training part, its interactions, sorted by user.
    """

    histories: Histories
    pairs: Histories

    def _set_first_apart(self) -> None:
        users, items = self.inter_feat[self.uid_field].numpy(), self.inter_feat[self.iid_field].numpy()
        warm = self._hold_out_cold_items(users, items)
        if warm is not None:
            users, items = users[warm], items[warm]
            index = torch.from_numpy(warm)
            self.inter_feat = Interaction({field: self.inter_feat[field][index] for field in self.inter_feat})
        self.histories = Histories(users, items)
        super()._set_first_apart()

    def build(self) -> list[Dataset]:
        """Train, validation and test parts by RecBole's splits; the training part with its pairs."""
        if self.config["cold_items"] and not self.is_ordered:
            raise ValueError("cold_items asks what a user consumed before; it needs eval_args with order: TO")
        parts = super().build()
        train = parts[0]
        train.inter_feat.sort(by=self.uid_field)
        train.pairs = Histories(
            train.inter_feat[self.uid_field].numpy().copy(), train.inter_feat[self.iid_field].numpy().copy()
        )
        return parts

    def row_plan(self, train_rows: str) -> RowPlan:
        """What an epoch's rows are: user-item pairs."""
        return chosen_plan({"pair": PairPlan}, train_rows)(self)

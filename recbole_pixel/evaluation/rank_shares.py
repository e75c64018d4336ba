"""Evaluation by several ranks: every user is scored by one of them, and all of them know the metrics."""

from __future__ import annotations

import copy
from typing import Any

from torch.utils.data import BatchSampler

from recbole_pixel.distributed import copy_state_from_first, from_first, gather_on_host, is_first, is_shared, share
from recbole_pixel.evaluation.collector import COLLECTED, BlockCollector


class RankCollector(BlockCollector):
    """Gathers what the ranks have collected.

    Attributes:
        gathers: whether ranks collect from different users.
    """

    gathers = False

    def get_data_struct(self) -> Any:
        """What all ranks have collected, in the order of the users."""
        struct = super().get_data_struct()
        for name in COLLECTED if self.gathers else ():
            if name in struct:
                struct.set(name, gather_on_host(struct[name]))
        return struct


class RankShares:
    """Put before a RecBole trainer class. All ranks call :meth:`evaluate` together, and return the same."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.eval_collector = RankCollector(self.config)  # type: ignore[attr-defined]

    def evaluate(self, eval_data: Any, *args: Any, **kwargs: Any) -> Any:
        """RecBole's ``Trainer.evaluate`` on all users; each rank scores a share of them, and encodes one of the items.

        Users that are fewer than ranks are scored by each.
        """
        if not eval_data or not is_shared(len(eval_data.sampler)):
            return super().evaluate(eval_data, *args, **kwargs)  # type: ignore[misc]
        self.eval_collector.gathers = True
        try:
            return super().evaluate(own_rows(eval_data), *args, **kwargs)  # type: ignore[misc]
        finally:
            self.eval_collector.gathers = False

    def _load_best(self, path: str) -> None:
        """The first rank reads the file, which the others may not see, and tells them."""
        model: Any = self.model  # type: ignore[attr-defined]
        if is_first():
            super()._load_best(path)  # type: ignore[misc]
        copy_state_from_first(model)
        model.load_other_parameter(from_first(model.other_parameter()))


def own_rows(loader: Any) -> Any:
    """A copy of a RecBole loader that runs through this rank's share of its rows, in order, in batches of its size."""
    part = share(len(loader.sampler))
    own = copy.copy(loader)
    rows = range(part.start, part.stop)
    vars(own).update(sampler=rows, batch_sampler=BatchSampler(rows, loader.batch_sampler.batch_size, drop_last=False))
    return own

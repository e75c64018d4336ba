"""RecBole's collector, for scores that are never there all at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from recbole.evaluator.collector import Collector
from torch import Tensor

from recbole_pixel.evaluation.lazy_scores import LazyScores
from recbole_pixel.evaluation.positives import Positives
from recbole_pixel.evaluation.recording import RECORDED, recorded_of
from recbole_pixel.evaluation.score_blocks import Whole
from recbole_pixel.evaluation.sieve import Sieves
from recbole_pixel.evaluation.top_items import top_items

COLLECTED = ("rec.items", "rec.topk", "rec.meanrank", "rec.score", "data.label", *RECORDED)
"""What RecBole's collector, or ours, keeps of users or of their items, a row each."""
NEEDS_ALL_SCORES = ("rec.score", "data.label")


class BlockCollector(Collector):
    """Collects what RecBole's does, with no second tensor the size of the scores, and of lazy scores without these.

    Rows of what it collects belong to users; those of several loaders can be put behind one another. What metrics of
    all scores need (``AUC``, ``LogLoss`` and the like) is RecBole's own matter.

    Attributes:
        record: where to leave what was recorded, see :func:`~recbole_pixel.evaluation.recording.recording`; or None.
    """

    record: dict[str, Any] | None = None

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.parts: dict[str, list[Tensor]] = {}
        self.sieves = Sieves()

    def eval_batch_collect(self, scores_tensor: Any, interaction: Any, positive_u: Tensor, positive_i: Tensor) -> None:
        """Collects a batch.

        Args:
            scores_tensor: :class:`~recbole_pixel.evaluation.lazy_scores.LazyScores` or a tensor, (B, N).
            interaction: the batch.
            positive_u: row of each positive item, (E,).
            positive_i: the positive items, (E,).
        """
        if any(self.register.need(name) for name in NEEDS_ALL_SCORES):
            scores = scores_tensor.dense() if isinstance(scores_tensor, LazyScores) else scores_tensor
            super().eval_batch_collect(scores, interaction, positive_u, positive_i)
            return
        blocks = scores_tensor.blocks if isinstance(scores_tensor, LazyScores) else Whole(scores_tensor)
        positives = Positives.of(positive_u.to(self.device), positive_i.to(self.device), blocks.shape)
        if self.record is not None or self.register.need("rec.items") or self.register.need("rec.topk"):
            items = top_items(blocks, max(self.topk), self.sieves)
            self._collect("rec.items", lambda: items)
            self._collect("rec.topk", lambda: positives.hits(items))
            if self.record is not None:
                users = interaction[self.config["USER_ID_FIELD"]]
                for name, part in recorded_of(users, positives, items).items():
                    self.parts.setdefault(name, []).append(part)
        self._collect("rec.meanrank", lambda: positives.mean_ranks(blocks))

    def _collect(self, name: str, rows: Callable[[], Tensor]) -> None:
        if self.register.need(name):
            self.parts.setdefault(name, []).append(rows())

    def forget(self) -> None:
        """Drops what an evaluation collected that did not come to its end."""
        self.parts = {}
        self.sieves.forget()
        for name in COLLECTED:
            if name in self.data_struct:
                del self.data_struct[name]

    def get_data_struct(self) -> Any:
        """What was collected, the users of a batch behind those of the batch before; forgotten here.

        RecBole's moves all to the host, counts and numbers too, which cannot be moved: metrics that need them
        (``ItemCoverage``, ``GiniIndex`` and the like) fail there.
        """
        for name, parts in self.parts.items():
            self.data_struct.set(name, torch.cat(parts))
        self.parts = {}
        self.sieves.forget()
        numbers = {name: value for name, value in self.data_struct._data_dict.items() if not hasattr(value, "cpu")}
        for name in numbers:
            del self.data_struct[name]
        struct = super().get_data_struct()
        for name, value in numbers.items():
            struct.set(name, value)
            self.data_struct.set(name, value)
        for name in RECORDED:
            if name in self.data_struct:
                del self.data_struct[name]
        if self.record is not None:
            self.record["struct"] = struct
        return struct

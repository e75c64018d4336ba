"""Scores of all items for histories or users, by the model's own ``full_sort_predict``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor
from torch.nn.functional import pad

from recbole_pixel.data.history import HISTORY_LENGTH, HISTORY_START
from recbole_pixel.data.rows import gather_windows
from recbole_pixel.evaluation.cold_calibration import ColdCalibration, Line
from recbole_pixel.evaluation.lazy_scores import LazyProducts, LazyScores
from recbole_pixel.serve.factors import Factors, factors_of
from recbole_pixel.serve.histories import UserHistories

SCORES_AT_ONCE = 2**24  # 64 MB
ROWS_AT_ONCE = 512


class Scorer:
    """Asks a model as its evaluation does.

    Args:
        model: of ours or of RecBole, with its weights, on its device.
        dataset: gives the names of its fields.
        device: where the model lies.
        calibration: what lets items compete that the model was not trained on, if anything does.
        masks_history: whether the evaluation ranked without what users had consumed.
    """

    def __init__(
        self,
        model: Any,
        dataset: Any,
        device: torch.device,
        calibration: ColdCalibration | None = None,
        masks_history: bool = True,
    ) -> None:
        self._calibration = calibration if calibration is not None and calibration.changes else None
        self._masks_history = masks_history
        self.model, self.device, self._dataset = model.eval(), device, dataset
        self.n_items = int(dataset.item_num)
        self.is_sequential = isinstance(model, SequentialRecommender)
        self.rows_at_once = max(1, min(ROWS_AT_ONCE, SCORES_AT_ONCE // self.n_items))

    @property
    def name(self) -> str:
        """Of the model."""
        return type(self.model).__name__

    @torch.no_grad()
    def scores(self, users: np.ndarray | None, histories: UserHistories) -> Tensor:
        """Scores of all items before calibration, float32 (B, N); the padding's is -inf.

        Args:
            users: ids, (B,); None for people that the model never met.
            histories: theirs, in these rows.
        """
        found = self._asked(users, histories)
        scores = (found.dense() if isinstance(found, LazyScores) else found).view(-1, self.n_items).float()
        scores[:, 0] = -torch.inf
        return scores

    def calibrated(self, users: np.ndarray | None, histories: UserHistories) -> Tensor:
        """:meth:`scores`, those of cold items lifted as the run's test evaluation lifts them."""
        scores = self.scores(users, histories)
        if self._calibration is None:
            return scores
        return self._calibration.on(self._line(self._calibration, scores, histories), scores)

    @torch.no_grad()
    def calibrated_new(self, users: Tensor, items: Tensor, new: Tensor, histories: UserHistories) -> Tensor:
        """Scores of new items, (B, n), lifted as cold ones are: neither was ever a target.

        Args:
            users: vectors, (B, D).
            items: those of the catalogue without the padding, (N - 1, D).
            new: of the new items, (n, D).
            histories: of the users.
        """
        scores = users @ new.T
        if self._calibration is None:
            return scores
        known = pad(users @ items.T, (1, 0), value=-torch.inf)
        return self._line(self._calibration, known, histories).at(scores, self._calibration.offset)

    def _line(self, calibration: ColdCalibration, scores: Tensor, histories: UserHistories) -> Line:
        """Each user's, by what the evaluation would rank: the same whatever an answer leaves out."""
        if self._masks_history:
            scores = scores.clone()
            histories.hide_in(scores)
        return calibration.line(scores)

    @torch.no_grad()
    def factors(self, users: np.ndarray | None, histories: UserHistories) -> Factors | None:
        """Vectors whose products are :meth:`scores`; None where the model does not end in a product."""
        found = self._asked(users, histories)
        return factors_of(found.blocks) if isinstance(found, LazyScores) else None

    def _asked(self, users: np.ndarray | None, histories: UserHistories) -> Any:
        interaction = self._rows(users, histories)
        with self._knowing(histories), LazyProducts(self.n_items):
            try:
                return self.model.full_sort_predict(interaction)
            except KeyError as error:
                raise NotImplementedError(
                    f"{self.name} reads {error} of each row, which is more than "
                    f"{'users and histories' if users is not None else 'the histories of users it never met'}: it "
                    f"cannot be asked so"
                ) from error
            except NotImplementedError as error:
                raise NotImplementedError(f"{self.name} scores pairs, and cannot rank all items for a user") from error

    def _rows(self, users: np.ndarray | None, histories: UserHistories) -> Interaction:
        """What a loader of an evaluation would give."""
        model = self.model
        rows = {} if users is None else {self._dataset.uid_field: torch.from_numpy(users)}
        if self.is_sequential:
            longest = self._dataset.max_item_list_len
            length = np.minimum(histories.length, longest)
            start = histories.start + histories.length - length
            rows[model.ITEM_SEQ] = torch.from_numpy(gather_windows(histories.flat.items, start, length, longest))
            rows[model.ITEM_SEQ_LEN] = torch.from_numpy(length)
            rows[HISTORY_START] = torch.from_numpy(histories.start)
            rows[HISTORY_LENGTH] = torch.from_numpy(histories.length)
        return self._dataset.join(Interaction(rows)).to(self.device)

    @contextmanager
    def _knowing(self, histories: UserHistories) -> Iterator[None]:
        """Lets a model that looks whole histories up (VisRank) find these."""
        own = getattr(self.model, "histories", None)
        if own is None:
            yield
            return
        self.model.histories = histories.flat
        try:
            yield
        finally:
            self.model.histories = own

"""A training step of PixRec, in chunks: forward 1 reads histories with their targets, forward 2 targets alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recbole_pixel.distributed import sum_over_ranks, world_size
from recbole_pixel.encoder.prompts import NO_LABEL, PromptBuilder, Prompts
from recbole_pixel.gradient_cache import Chunk, chunked_loss
from recbole_pixel.model.multimodal_recommender.mixed_objective import Contrast, LossWeights, next_item_loss
from recbole_pixel.model.multimodal_recommender.prompt_tower import PromptTower, ShownPictures


class StepRows(NamedTuple):
    """The rows of a step.

    Attributes:
        histories: item ids in the order of time, of each row.
        targets: item ids, (B,).
        n_all: rows of all ranks.
        n_counted: rows of this rank that count; all, but where a rank has none of its own.
    """

    histories: Sequence[np.ndarray]
    targets: np.ndarray
    n_all: int
    n_counted: int


class MixedStep:
    """The loss of a step.

    Args:
        tower: reads.
        weights: of the three losses.
        temperature: of the contrasts.
        chunk: rows that are read at a time; None for all.

    Attributes:
        terms: the contrasts that have a weight, of the last step.
    """

    def __init__(self, tower: PromptTower, weights: LossWeights, temperature: float, chunk: int | None) -> None:
        self.tower, self.weights, self.temperature, self.chunk = tower, weights, temperature, chunk
        self.terms: dict[str, Tensor] = {}

    def loss(self, rows: StepRows, shown: ShownPictures, prompts: PromptBuilder) -> Tensor:
        """The loss of ``rows``, such that its mean over ranks, each weighted by its rows, is that of all rows.

        Args:
            rows: see :class:`StepRows`.
            shown: the pictures of all items in them.
            prompts: of their dataset.

        Raises:
            ValueError: a loss with a weight is zero whatever the model does.
        """
        share = rows.n_counted * world_size() / rows.n_all  # what the trainer multiplies this rank's loss with
        contrast = Contrast(rows.histories, rows.targets, rows.n_all) if self.weights.contrasts else None
        if contrast is not None:
            contrast.check()
        inner, leaves, sources = self._leaves(shown)
        pairs = [prompts.histories(rows.histories[part], rows.targets[part]) for part in self._parts(len(rows.targets))]
        n_labels = self._n_labels(pairs, rows.n_counted > 0)
        readings: list[Chunk] = [partial(self._read_pairs, each, inner, 1 / n_labels) for each in pairs]
        distinct, places = np.unique(rows.targets, return_inverse=True)
        if contrast is not None:
            alone = [
                prompts.items(distinct[part]) for part in self._parts(len(distinct), _ratio(pairs, prompts, distinct))
            ]
            readings += [partial(self._read_items, each, inner) for each in alone]

        def of_vectors(vectors: list[Tensor]) -> Tensor:
            """The weighted sum of the contrastive terms; ``vectors`` are of the pairs, then of items alone."""
            if contrast is None:
                return vectors[0].new_zeros(())
            read, alone = torch.cat(vectors[: len(pairs)]), torch.cat(vectors[len(pairs) :])
            alone = alone[torch.from_numpy(places).to(alone.device)]
            tt, ut = contrast.losses(read[:, 0], read[:, 1], alone, self.temperature)
            weighed = {"tt": self.weights.tt, "ut": self.weights.ut}
            self.terms = {name: own.detach() for name, own in (("tt", tt), ("ut", ut)) if weighed[name]}
            return share * (self.weights.tt * tt + self.weights.ut * ut)

        loss = chunked_loss(readings, of_vectors, leaves, sources, twice=self._is_cached)
        return loss / share if share else loss * 0.0

    @property
    def _is_cached(self) -> bool:
        """Whether vectors are computed ahead: in chunks, and over ranks, which then talk in the same order."""
        return self.chunk is not None or world_size() > 1

    def _parts(self, n: int, ratio: int = 1) -> list[slice]:
        size = n if self.chunk is None else self.chunk * ratio
        return [slice(first, first + size) for first in range(0, n, size)]

    def _leaves(self, shown: ShownPictures) -> tuple[ShownPictures, list[Tensor], list[Tensor]]:
        """What chunks see of the pictures, the leaves of their graphs, and what these leaves' gradients belong to.

        Features of pictures are a leaf: the vision tower runs once, and is told once what all chunks want of them.
        """
        own: list[Tensor] = [parameter for parameter in self.tower.parameters() if parameter.requires_grad]
        if not self._is_cached or shown.features is None or not shown.features.requires_grad:
            return shown, own, own
        inner = ShownPictures(shown.ids, shown.features.detach().requires_grad_())
        assert inner.features is not None
        return inner, [*own, inner.features], [*own, shown.features]

    def _n_labels(self, pairs: Sequence[Prompts], counts: bool) -> float:
        """Places at which all ranks' targets are generated, over the number of ranks; its own where it ``counts``."""
        if not self.weights.nig:
            return 1.0
        n_own = sum(int((each.labels != NO_LABEL).sum()) for each in pairs) if counts else 0
        own = torch.tensor(n_own, device=self.tower.device)
        n_labels = float(sum_over_ranks(own))
        if not n_labels:
            raise ValueError(
                "none of this batch's targets has a text to be generated, so the loss of next-item generation is zero: "
                "let tt_weight and ut_weight add up to 1, or name columns in item_attributes that items have"
            )
        return n_labels / world_size()

    def _read_pairs(
        self, prompts: Prompts, shown: ShownPictures, weight: float, with_loss: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Vectors of histories and of targets behind them, (c, 2, D), and these targets' part of the generation."""
        hidden, prompts = self.tower.read(prompts, shown)
        vectors = torch.stack(
            [self.tower.user_vectors(hidden, prompts), self.tower.item_vectors(hidden, prompts)], dim=1
        )
        if not (with_loss and self.weights.nig):
            return vectors, None
        backbone = self.tower.reader.backbone
        total = next_item_loss(backbone.logits, hidden, prompts.labels, backbone.vocabulary_size)
        return vectors, self.weights.nig * weight * total

    def _read_items(self, prompts: Prompts, shown: ShownPictures, with_loss: bool) -> tuple[Tensor, Tensor | None]:
        """Vectors of targets alone, (c, D)."""
        return self.tower.item_vectors(*self.tower.read(prompts, shown)), None


def _ratio(pairs: Sequence[Prompts], prompts: PromptBuilder, items: np.ndarray) -> int:
    """How many items alone are about as long as a history with its target."""
    return max(1, max(each.ids.shape[1] for each in pairs) // max(1, int(prompts.sizes[items].max())))

"""How PixRec ranks: by vectors, by texts that it writes, or by both."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from recbole_pixel.encoder.prompts import Prompts, PromptTemplate
from recbole_pixel.model.multimodal_recommender.generative import TextSearch
from recbole_pixel.model.multimodal_recommender.prompt_tower import PromptTower, ShownPictures

RANKINGS = ("dense", "generative", "mixed")


class Writing(NamedTuple):
    """How texts are written.

    Attributes:
        n_samples: texts per history.
        temperature: of the draws; 0 writes the likeliest text.
        scale: see :class:`TextSearch`.
    """

    n_samples: int
    temperature: float
    scale: float


class Ranking:
    """Scores of all items for histories.

    Args:
        tower: reads and writes.
        kind: ``dense`` (cosines of the vectors of histories and of items), ``generative`` (texts, searched for by BM25)
            or ``mixed`` (the weighted mean of both, each row of cosines scaled to run from 0 to 1).
        writing: how texts are written.
        weight: of ``generative`` in ``mixed``.
    """

    def __init__(self, tower: PromptTower, kind: str, writing: Writing, weight: float) -> None:
        self._tower, self.kind, self.writing, self.weight = (tower,), kind, writing, weight

    @classmethod
    def of(cls, config: Any, tower: PromptTower, template: PromptTemplate) -> Ranking:
        """The ranking that ``ranking`` and its companions describe.

        Raises:
            ValueError: it is none of :data:`RANKINGS`, or there is no text that could be written.
        """
        kind, weight = config["ranking"], config["generative_weight"]
        if kind not in RANKINGS:
            raise ValueError(f"ranking is {kind!r}; expected one of {', '.join(RANKINGS)}")
        if kind != "dense" and not template.has_text:
            raise ValueError(f"ranking is {kind}, and modalities has no text that could be written: set it to dense")
        if kind != "dense" and template.picture == "before":
            raise ValueError(
                f"ranking is {kind}, and picture_place before: a model writes no picture, so the text must come first"
            )
        if not 0 <= weight <= 1:
            raise ValueError(f"generative_weight is {weight}; expected 0 to 1")
        writing = Writing(config["generative_samples"], config["generative_temperature"], config["generative_scale"])
        if writing.n_samples < 1 or writing.temperature < 0 or writing.scale <= 0:
            raise ValueError(
                f"generative_samples, _temperature and _scale are {tuple(writing)}; expected 1 or more, 0 or more, and "
                f"more than 0"
            )
        return cls(tower, kind, writing, weight)

    @property
    def tower(self) -> PromptTower:
        """Reads and writes."""
        return self._tower[0]

    @cached_property
    def search(self) -> TextSearch:
        """The items' texts, as the model would write them."""
        prompts, tokenizer = self.tower.source().prompts, self.tower.reader.backbone.tokenizer
        texts = [row[:length] for row, length in zip(prompts.texts[1:], prompts.n_text[1:], strict=True)]
        return TextSearch(tokenizer.batch_decode(texts, skip_special_tokens=True), self.writing.scale)

    @torch.no_grad()
    def scores(self, histories: Sequence[np.ndarray]) -> Tensor:
        """Scores of all items, (B, N).

        Args:
            histories: item ids in the order of time, of each row.
        """
        if self.kind == "generative":
            return self.written(histories)
        dense = self.tower.encode_histories(histories) @ self.tower.weight.T
        if self.kind == "dense":
            return dense
        own = dense[:, 1:]
        low, high = own.amin(1, keepdim=True), own.amax(1, keepdim=True)
        scaled = (dense - low) / (high - low).clamp(min=1e-12)
        return (1 - self.weight) * scaled + self.weight * self.written(histories)

    def written(self, histories: Sequence[np.ndarray]) -> Tensor:
        """Scores of all items by the texts that are written behind histories, (B, N)."""
        backbone, prompts = self.tower.reader.backbone, self.tower.source().prompts

        def search(context: Prompts, shown: ShownPictures) -> Tensor:
            """Scores of all items by what is written behind some of the histories, (n, N)."""
            moved = context.to(self.tower.device)
            pictures = shown.of(context.pictures)
            ids, log_probabilities = backbone.generate(
                moved.ids,
                moved.mask,
                pictures if pictures is not None and len(pictures) else None,
                n_samples=self.writing.n_samples,
                temperature=self.writing.temperature,
                max_new_tokens=prompts.longest_text + 1,
            )
            texts = backbone.tokenizer.batch_decode(ids.flatten(0, 1), skip_special_tokens=True)
            n_samples = ids.shape[1]
            rows = [texts[first : first + n_samples] for first in range(0, len(texts), n_samples)]
            return self.search.scores(rows, log_probabilities.cpu())

        return torch.cat(self.tower.over_histories(histories, search)).to(self.tower.device)

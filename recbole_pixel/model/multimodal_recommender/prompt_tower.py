"""The item tower of models that read prompts: an item's vector is what is read of it alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_pixel.encoder.chunks import run_in_chunks
from recbole_pixel.encoder.prompts import TARGET, USER, PromptBuilder, Prompts
from recbole_pixel.item_tower import ItemTower
from recbole_pixel.model.multimodal_recommender.reading import PromptReader

VISION_CHUNK = 32  # pictures through a vision tower that learns, where a step of more is computed again


class ItemSource(NamedTuple):
    """The items of a dataset.

    Attributes:
        prompts: puts their prompts together.
        inputs: their pictures.
    """

    prompts: PromptBuilder
    inputs: Any


class ShownPictures:
    """Features of some items' pictures, found by item id.

    Args:
        ids: sorted distinct item ids, (U,).
        features: (U, P, W), or None where nothing has a picture.
    """

    def __init__(self, ids: Tensor, features: Tensor | None) -> None:
        self.ids, self.features = ids.cpu(), features

    def of(self, items: Tensor) -> Tensor | None:
        """Features of ``items`` (n,), ids on the CPU, repeats allowed: (n, P, W)."""
        if self.features is None:
            return None
        return self.features[torch.searchsorted(self.ids, items).to(self.features.device)]


class PromptTower(ItemTower):
    """Vectors of items and of histories, from one backbone and two heads; tables are kept as in any item tower.

    Args:
        reader: backbone and pooling.
        sources: the items of the run's own dataset, then those of the others it trains on.
        n_items: size of the own dataset's catalogue, the padding included.
        size: D, width of the vectors.
        chunk: items per pass when the table is built.

    Attributes:
        user_head: of histories.
        item_head: of targets, read alone or behind a history.
        vision_chunk: pictures of a step that a learning vision tower keeps activations of; None for all.
    """

    def __init__(
        self, reader: PromptReader, sources: Sequence[ItemSource], n_items: int, size: int, chunk: int = 256
    ) -> None:
        super().__init__(reader, sources[0].inputs, n_items, None, chunk=chunk)
        self.embedding_dim, self.sources = size, _Unmoved(sources)
        self.user_head = nn.Linear(reader.n_features, size)
        self.item_head = nn.Linear(reader.n_features, size)
        self.vision_chunk: int | None = None

    @property
    def reader(self) -> PromptReader:
        """Backbone and pooling."""
        reader: Any = self.encoder
        return reader

    def source(self, number: int = 0) -> ItemSource:
        """The items of a dataset, the run's own by default."""
        return self.sources.values[number]

    def shown(self, ids: Tensor, arrays: Tensor | None, number: int = 0) -> ShownPictures:
        """Features of the pictures of items, each of which goes through the vision tower once.

        Args:
            ids: sorted distinct item ids >= 1, (U,).
            arrays: their inputs, (U, ...), fetched here when None.
            number: of their dataset.
        """
        source = self.source(number)
        if not source.prompts.has_picture.any():
            return ShownPictures(ids, None)
        arrays = (source.inputs.fetch(ids.cpu()) if arrays is None else arrays).to(self.device, non_blocking=True)
        self.n_encoded += len(ids)
        if source.inputs.from_trunk:
            return ShownPictures(ids, arrays.to(torch.float32))
        backbone = self.reader.backbone
        learns = self.training and not backbone.vision_is_frozen
        return ShownPictures(ids, run_in_chunks(backbone.image_features, arrays, self.vision_chunk, learns))

    def read(self, prompts: Prompts, shown: ShownPictures) -> tuple[Tensor, Prompts]:
        """Last hidden states, (B, T, H), and the prompts where they were computed."""
        moved = prompts.to(self.device)
        return self.reader.hidden(moved, shown.of(prompts.pictures)), moved

    def user_vectors(self, hidden: Tensor, prompts: Prompts) -> Tensor:
        """Vectors of histories, (B, D), of what was read, see :meth:`read`."""
        return self.user_head(self.reader.pooled(hidden, prompts.owner == USER))

    def item_vectors(self, hidden: Tensor, prompts: Prompts) -> Tensor:
        """Vectors of targets, (B, D), likewise."""
        return self.item_head(self.reader.pooled(hidden, prompts.owner == TARGET))

    def encode_items(self, ids: Tensor, arrays: Tensor) -> Tensor:
        """Vectors of length 1 of the items ``ids`` (U,) of the own dataset, read alone: (U, D)."""
        prompts = self.source().prompts.items(ids.tolist())
        hidden, prompts = self.read(prompts, self.shown(ids, arrays))
        return F.normalize(self.item_vectors(hidden, prompts).float(), dim=-1)

    @torch.no_grad()
    def encode_histories(self, histories: Sequence[np.ndarray]) -> Tensor:
        """Vectors of length 1 of histories, as many at a time as items: (B, D)."""

        def vectors(prompts: Prompts, shown: ShownPictures) -> Tensor:
            hidden, prompts = self.read(prompts, shown)
            return F.normalize(self.user_vectors(hidden, prompts).float(), dim=-1)

        return torch.cat(self.over_histories(histories, vectors))

    def over_histories(
        self, histories: Sequence[np.ndarray], function: Callable[[Prompts, ShownPictures], Tensor]
    ) -> list[Tensor]:
        """What ``function`` makes of the prompts of histories, ``chunk`` at a time, with their pictures."""
        found = []
        for first in range(0, len(histories), self.chunk):
            prompts = self.source().prompts.histories(histories[first : first + self.chunk])
            found.append(function(prompts, self.shown(prompts.pictures.unique(), None)))
        return found


class _Unmoved:
    """Keeps stores out of a module's state: shared, not copied, by a deepcopy."""

    def __init__(self, values: Sequence[ItemSource]) -> None:
        self.values = tuple(values)

    def __deepcopy__(self, memo: dict[int, object]) -> _Unmoved:
        return self

"""An encoder of items that are several things: a picture and a text, some of which may be missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from recbole_pixel.encoder.fusion import make_fusion
from recbole_pixel.encoder.parts import Parts
from recbole_pixel.encoder.standardising import Standardising


class JointEncoder(nn.Module):
    """Vectors of items from records of several arrays, see :class:`~recbole_pixel.encoder.parts.Parts`.

    Each part goes through its own encoder, is standardised by itself and projected to D by itself: a loud picture
    cannot drown a text. A part that an item lacks is a learnt vector instead. In training, parts of some items are
    hidden at random, as if they were missing, so that each part learns to rank alone; never all of an item's.

    Args:
        encoders: of each part by name, in the order of the record; each with ``n_features``, ``trunk`` and ``head``.
        layout: of the records.
        size: D.
        fusion: how the parts' vectors become one, see :data:`~recbole_pixel.encoder.fusion.FUSIONS`.
        standardise: shift and scale each part's features before its projection.
        scale: deviation of each dimension of a part's vectors at the start, where features are standardised.
        dropout: chance that one part of an item that has several is hidden in a step, from 0 to 1.
        noise: added to standardised features in training, see :class:`Standardising`.

    Raises:
        ValueError: ``dropout`` is no chance, or ``fusion`` is unknown.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        layout: Parts,
        size: int,
        *,
        fusion: str = "gated",
        standardise: bool = True,
        scale: float = 0.02,
        dropout: float = 0.0,
        noise: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= dropout <= 1:
            raise ValueError(f"modality_dropout is {dropout}; expected a chance, from 0 to 1")
        self.layout, self.dropout, self.n_features = layout, dropout, size
        self.encoders = nn.ModuleDict(encoders)
        self.parts = nn.ModuleDict(
            {
                name: PartVectors(int(encoder.n_features), size, standardise, scale, noise)  # type: ignore[arg-type]
                for name, encoder in encoders.items()
            }
        )
        self.fusion = make_fusion(fusion, len(self.encoders), size, scale)

    def trunk(self, records: Tensor) -> Tensor:
        """The records: those of their arrays that a trunk made are in them already."""
        return records

    def head(self, records: Tensor) -> Tensor:
        """Vectors of items: uint8 records (U, bytes) to (U, D)."""
        arrays, present = self.layout.unpack(records)
        shown = self._shown(present) if self.training else present
        vectors = [
            part(self._features(place, arrays[place]), shown[:, place])
            for place, part in enumerate(self.parts.values())
        ]
        return self.fusion(torch.stack(vectors, dim=1))

    forward = head

    def _features(self, place: int, arrays: Tensor) -> Tensor:
        encoder: Any = list(self.encoders.values())[place]
        return encoder.head(arrays if self.layout.parts[place].from_trunk else encoder.trunk(arrays))

    def _shown(self, present: Tensor) -> Tensor:
        """``present`` (U, M), with one part less of some items that have several."""
        if not self.dropout or present.shape[1] < 2:
            return present
        n_items, n_parts = present.shape
        ranks = torch.rand(n_items, n_parts, device=present.device).masked_fill(~present, -1.0)
        hidden = nn.functional.one_hot(ranks.argmax(1), n_parts).bool()
        is_hit = torch.rand(n_items, device=present.device) < self.dropout
        return present & ~(hidden & (is_hit & (present.sum(1) > 1))[:, None])

    @torch.no_grad()
    def fit_standardising(self, blocks: Callable[[], Iterable[Tensor]]) -> None:
        """Fits each part's shift and scale to the features of the items that have it.

        Args:
            blocks: gives records of all items, or of this rank's, (n, bytes) at a time, anew at each call.
        """
        for place, part in enumerate(self.parts.values()):
            if isinstance(part.standardising, Standardising):
                part.standardising.fit(self._present_features(place, blocks()))

    def _present_features(self, place: int, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        for records in blocks:
            arrays, present = self.layout.unpack(records)
            if present[:, place].any():
                yield self._features(place, arrays[place])[present[:, place]]


class PartVectors(nn.Module):
    """From one part's features to its vectors, and a learnt vector for items that lack it.

    Args:
        n_features: F.
        size: D.
        standardise: whether features are standardised.
        scale: deviation of each dimension of the vectors at the start, where they are.
        noise: added to them in training.
    """

    def __init__(self, n_features: int, size: int, standardise: bool, scale: float, noise: float = 0.0) -> None:
        super().__init__()
        self.standardising = Standardising(n_features, noise) if standardise else nn.Identity()
        self.projection = nn.Linear(n_features, size)
        if standardise:
            nn.init.normal_(self.projection.weight, std=scale / n_features**0.5)
            nn.init.zeros_(self.projection.bias)
        self.missing = nn.Parameter(torch.zeros(size))

    def forward(self, features: Tensor, present: Tensor) -> Tensor:
        """Features (U, F) and which items have the part, bool (U,), to vectors (U, D)."""
        vectors = self.projection(self.standardising(features))
        return torch.where(present[:, None], vectors, self.missing.to(vectors.dtype))

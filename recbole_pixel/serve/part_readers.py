"""From a new item's picture, text or features to the array that a store would hold of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from recbole_pixel.serve.stored_form import StoredForm, decoded
from recbole_pixel.store import MEAN_TOKEN


class PartReader(Protocol):
    """From what is given of items to the arrays of one of their parts, as a store of these would hold them.

    Attributes:
        inputs: the catalogue's.
    """

    inputs: Any

    def arrays(self, given: Sequence[Any]) -> Tensor:
        """Arrays of the items, (n, ...)."""

    def stand_in(self) -> Tensor | None:
        """The array of an item that lacks the part, (...), where one stands for all such; else None."""


@dataclass
class PictureReader:
    """Reads pictures.

    Attributes:
        form: what the catalogue's store did to its pictures.
        size: side of what the encoder reads, in pixels.
        trunk: the frozen part of the encoder, uint8 (n, 3, S, S) to (n, ...).
        inputs: of the catalogue; they say whether they went through the trunk, and how they are kept.
        device: where to compute.
    """

    form: StoredForm
    size: int
    trunk: Callable[[Tensor], Tensor]
    inputs: Any
    device: torch.device

    def arrays(self, given: Sequence[Any]) -> Tensor:
        """Pixels (n, S, S, 3), or what the trunk makes of them."""
        pixels = torch.from_numpy(decoded(list(given), self.form, self.size))
        if not self.inputs.from_trunk:
            return pixels
        return kept(self.trunk(pixels.permute(0, 3, 1, 2).to(self.device)), self.inputs)

    def stand_in(self) -> Tensor | None:
        """The mean picture, where the store holds one."""
        store = self.inputs.store
        if MEAN_TOKEN not in store:
            return None
        return self.inputs._numbers(store.gather(store.positions([MEAN_TOKEN])))[0]


@dataclass
class TextReader:
    """Reads texts.

    Attributes:
        tokenise: from texts to token ids, int32 (n, T).
        trunk: the frozen part of the encoder.
        inputs: see :class:`PictureReader`.
        device: likewise.
    """

    tokenise: Callable[[Sequence[str]], np.ndarray]
    trunk: Callable[[Tensor], Tensor] | None
    inputs: Any
    device: torch.device

    def arrays(self, given: Sequence[Any]) -> Tensor:
        """Token ids, or what the trunk makes of them: as many tokens as the catalogue's longest text has."""
        tokens = torch.from_numpy(self.tokenise([str(text) for text in given]))
        if not self.inputs.from_trunk or self.trunk is None:
            return tokens
        if len(self.inputs.shape) == 2:
            tokens = tokens[:, : self.inputs.shape[0]]
        return kept(self.trunk(tokens.to(self.device)), self.inputs)

    def stand_in(self) -> Tensor | None:
        """The text without words."""
        return self.arrays([""])[0]


@dataclass
class FeatureReader:
    """Takes features that were made elsewhere, by what made the catalogue's."""

    inputs: Any

    def arrays(self, given: Sequence[Any]) -> Tensor:
        """The features, (n, ...)."""
        features = np.asarray(given, dtype=self.inputs.dtype)
        if features.shape[1:] != tuple(self.inputs.shape):
            raise ValueError(
                f"features of new items are of shape {list(features.shape[1:])}; expected {list(self.inputs.shape)} "
                f"an item, as in {self.inputs.store.path}, and made in the same way"
            )
        return torch.from_numpy(features)

    def stand_in(self) -> Tensor | None:
        """None."""
        return None


def kept(activations: Tensor, inputs: Any) -> Tensor:
    """``activations`` on the CPU, rounded as those of ``inputs`` are."""
    return (activations.to(torch.bfloat16) if inputs.is_bf16 else activations).contiguous().cpu()


def no_arrays(inputs: Any, n_items: int) -> Tensor:
    """Zeros where nothing is looked at, (n, ...), as arrays of ``inputs`` are."""
    nothing = inputs.raw(torch.zeros(0, dtype=torch.long)).cpu()
    return nothing.new_zeros((n_items, *inputs.shape))

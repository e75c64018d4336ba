"""Vectors of items that are in no catalogue, from their pictures, texts or features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recbole_pixel.serve.part_readers import PartReader, no_arrays

WORDS = {"image": "picture", "text": "text", "features": "features"}


class NewItems:
    """What the item tower makes of items that it has no stored arrays of.

    Args:
        tower: of the model.
        readers: of the items' parts, ``image``, ``text`` or ``features``, in the order of the tower's records.
        missing: what to do where a part is not given: ``error``, ``stand_in``, or ``absent`` where the tower has learnt
            what to make of an item without it.
        layout: of records that hold several parts; None where arrays go to the tower as they are.
        ahead: a frozen reader of records, where the tower goes on from what it makes.
    """

    def __init__(
        self,
        tower: Any,
        readers: Mapping[str, PartReader],
        missing: Mapping[str, str],
        layout: Any = None,
        ahead: nn.Module | None = None,
    ) -> None:
        self._tower, self.readers, self.missing = tower, dict(readers), dict(missing)
        self.layout, self._ahead = layout, None if ahead is None else ahead.eval().to(tower.device)

    @torch.no_grad()
    def vectors(self, **given: Sequence[Any] | None) -> Tensor:
        """Vectors of new items, (n, D), on the tower's device.

        Args:
            given: of each part by its name, what there is of each item; None where there is nothing of any.

        Raises:
            ValueError: nothing is given, or a part that the model does not read, or one is missing that it needs.
            PictureError: a picture cannot be read.
        """
        there = {name: list(values) for name, values in given.items() if values is not None}
        n_items = self._checked(there)
        arrays = [self._arrays(name, reader, there, n_items) for name, reader in self.readers.items()]
        device = self._tower.device
        if self.layout is None:
            own = self._seen(arrays[0]).to(device)
        else:
            records = torch.empty((n_items, self.layout.n_bytes), dtype=torch.uint8)
            present = [name in there or self.missing[name] != "absent" for name in self.readers]
            own = self.layout.pack(arrays, torch.tensor(present).expand(n_items, -1), records).to(device)
        own = own if self._ahead is None else self._ahead(own)
        return self._tower.encode_items(torch.zeros(n_items, dtype=torch.long, device=device), own).float()

    def _checked(self, there: Mapping[str, list[Any]]) -> int:
        """How many items ``there`` are."""
        wanted = " and ".join(WORDS[name] for name in self.readers)
        unread = [WORDS[name] for name in there if name not in self.readers]
        if unread or not there:
            raise ValueError(
                f"{' and '.join(unread) or 'nothing'} was given of new items; this model's items are made of {wanted}"
            )
        lengths = {len(values) for values in there.values()}
        if lengths == {0}:
            raise ValueError(f"no new item was given: the list is empty; expected {wanted} of at least one")
        if len(lengths) > 1:
            raise ValueError(f"{sorted(lengths)} {wanted} were given; expected one of each for every new item")
        for name in self.readers:
            if name not in there and self.missing[name] == "error":
                raise ValueError(f"a new item needs its {WORDS[name]}, too: this model's items are made of {wanted}")
        return lengths.pop()

    def _arrays(self, name: str, reader: PartReader, there: Mapping[str, list[Any]], n_items: int) -> Tensor:
        if name in there:
            return reader.arrays(there[name])
        own = reader.stand_in()
        if own is None and self.missing[name] == "absent":  # nothing looks at it
            return no_arrays(reader.inputs, n_items)
        if own is None:
            raise ValueError(f"a new item needs its {WORDS[name]}: nothing stands for it in the catalogue")
        return own.expand(n_items, *own.shape)

    def _seen(self, arrays: Tensor) -> Tensor:
        channels_last = getattr(self._tower.inputs, "channels_last", False)
        return arrays.permute(0, 3, 1, 2) if channels_last else arrays

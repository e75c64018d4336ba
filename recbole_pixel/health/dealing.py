"""Whether what items are made of matters: vectors of a few items whose pictures, or texts, are dealt out among them."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from recbole_pixel.health.notes import Notes

SAMPLE = 64
"""Items among which inputs are dealt out."""

FEWEST = 16
"""Items below which nothing is said."""

UNMOVED = 1e-4
"""Share of the difference between two items that dealing makes, in squares, below which it counts as none: a hundredth
of the distance. A part that is looked at at all makes a tenth and more."""


class Part(NamedTuple):
    """Something that an item is made of.

    Attributes:
        name: ``image``, ``text``, ``features``.
        columns: of a record, where it lies; None for the whole array.
        flag: the column that says whether the item has it.
    """

    name: str
    columns: slice | None
    flag: int


def parts_of(tower: Any) -> list[Part]:
    """What the items of a tower are made of, in the order of its records.

    A record holds the parts' bytes, then a byte for each part, see :class:`~recbole_pixel.encoder.parts.Parts`.
    """
    layout = getattr(tower.inputs, "layout", None)
    if layout is None:
        return [Part("input", None, -1)]
    names = getattr(tower.encoder, "modalities", None) or list(getattr(tower.encoder, "encoders", ()))
    found, start, n_bytes = [], 0, sum(part.n_bytes for part in layout.parts)
    for place, part in enumerate(layout.parts):
        name = names[place] if place < len(names) else f"part {place}"
        found.append(Part(name, slice(start, start + part.n_bytes), n_bytes + place))
        start += part.n_bytes
    return found


@torch.no_grad()
def moved_by_dealing(tower: Any, seed: int) -> dict[str, float]:
    """How far item vectors move when a part of the items is dealt out among them, by the part's name.

    Each item gets another's: 1 says that the vector goes where the part goes, 0 that it does not look at it. In
    squares, as a share of what an item differs from the one whose part it got. Empty where there is nothing to ask:
    vectors are computed from one array alone, or too few items have every part.

    Args:
        tower: an item tower in eval mode; its inputs are read, its kept table is not.
        seed: of the draw of the items.
    """
    parts = parts_of(tower)
    ids = _sampled(tower.num_embeddings, seed)
    arrays = tower.inputs.fetch(ids)
    if parts[0].columns is not None:
        has_all = arrays[:, [part.flag for part in parts]].bool().all(1).cpu()
        ids, arrays = ids[has_all][:SAMPLE], arrays[has_all.to(arrays.device)][:SAMPLE]
    ids, arrays = ids[:SAMPLE], arrays[:SAMPLE].to(tower.device)
    if len(ids) < FEWEST or (parts[0].columns is None and not reads_ids(tower)):
        return {}
    own = ids.to(tower.device)
    vectors = tower.encode_items(own, arrays).float()
    found = {}
    for part in parts:
        found[part.name] = _change(vectors, tower.encode_items(own, _dealt(arrays, part)).float())
    return {name: share for name, share in found.items() if share == share}


def reads_ids(tower: Any) -> bool:
    """Whether a tower knows more of an item than its array: it computes vectors by a method of its own."""
    from recbole_pixel.item_tower import ItemTower

    return type(tower).encode_items is not ItemTower.encode_items


def _sampled(n_items: int, seed: int) -> Tensor:
    """Ids of some items, ascending: more than are looked at, as some may lack a part."""
    drawn = torch.randperm(n_items - 1, generator=torch.Generator().manual_seed(seed))[: 4 * SAMPLE]
    return drawn.sort().values + 1


def _dealt(arrays: Tensor, part: Part) -> Tensor:
    """``arrays`` (U, ...) in which each item has the next one's part."""
    if part.columns is None:
        return arrays.roll(1, 0)
    dealt = arrays.clone()
    dealt[:, part.columns] = arrays[:, part.columns].roll(1, 0)
    return dealt


def _change(vectors: Tensor, dealt: Tensor) -> float:
    """Squared change by dealing, as a share of that between neighbours; NaN where all vectors are one."""
    apart = (vectors - vectors.roll(1, 0)).square().sum()
    return float((dealt - vectors).square().sum() / apart) if apart > 0 else float("nan")


class Dealing:
    """Looks at a tower after the 2nd, 4th, 8th ... validation: often early, and at no cost in a long run.

    Args:
        notes: where to tell.
        seed: of the draws.
    """

    def __init__(self, notes: Notes, seed: int) -> None:
        self.notes, self.seed, self.n_validations = notes, seed, 0

    def look(self, tower: Any) -> None:
        """Counts a validation, and looks after some."""
        self.n_validations += 1
        is_power = self.n_validations & (self.n_validations - 1) == 0
        if self.n_validations < 2 or not is_power or "inputs_do_not_matter" in self.notes:
            return
        still = [name for name, share in moved_by_dealing(tower, self.seed).items() if share < UNMOVED]
        if still:
            what = " and ".join(_words(name) for name in still)
            self.notes.tell(
                "inputs_do_not_matter",
                f"{what} do not matter to the model: dealt out at random among the items, they leave every item's "
                f"vector where it is. Raise encoder_learning_rate, projection_scale or modality_dropout, see that "
                f"items differ in them (`recbole-pixel images show`), or leave them out",
            )


def _words(name: str) -> str:
    return {"image": "pictures", "text": "texts", "input": "pictures"}.get(name, name)

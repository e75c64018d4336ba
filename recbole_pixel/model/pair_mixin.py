"""Turns RecBole's general models, which train on pairs of a user and an item, into pixel models."""

from __future__ import annotations

from typing import Any

import torch
from recbole.utils import InputType
from torch import Tensor

from recbole_pixel.catalogue import StepCatalogue
from recbole_pixel.collisions import Collisions, PairCollisions
from recbole_pixel.data.loader import CATALOGUE_NEGATIVE, CATALOGUE_OWN
from recbole_pixel.item_tower import ItemTower
from recbole_pixel.model.pixel_mixin import PixelMixin


class PairMixin(PixelMixin):
    """Put before a general RecBole class: ``class PixelX(PairMixin, X)``.

    With ``loss_type: BPR`` the loss is the parent's own, over a positive and a negative item. A class that overrides
    :meth:`user_output` may list ``CE`` and ``BCE`` in ``loss_types``, too: the parent's score must then be the dot
    product of that vector and the item's.
    """

    row_kinds = ("pair",)
    loss_types: tuple[str, ...] = ("BPR",)
    USER_ID: str

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        parent = next(base for base in type(self).__mro__ if base.__module__.startswith("recbole."))
        kind = parent.input_type  # type: ignore[attr-defined]
        if kind != InputType.PAIRWISE:
            raise TypeError(
                f"{parent.__name__} trains on {kind.name.lower()} data; a general pixel model is trained on pairs of a "
                f"positive and a negative item (input_type PAIRWISE)"
            )

    def user_output(self, interaction: Any) -> Tensor:
        """Vectors of the users of ``interaction``, (B, D), whose product with an item's vector is the score."""
        raise NotImplementedError(f"{type(self).__name__} trains by {', '.join(self.loss_types)} only")

    def _step_loss(self, interaction: Any) -> Tensor:
        if self.pixel_loss_type == "BPR" and CATALOGUE_NEGATIVE not in interaction:
            return super()._step_loss(interaction)
        return self._state_loss(self.user_output(interaction), interaction[self.ITEM_ID], None, interaction)

    def _collisions(self, catalogue: StepCatalogue, interaction: Any) -> Collisions:
        """Candidates that the row's user consumed in training, as our loader found them."""
        return self._own_items(interaction)

    def _negative_collisions(self, negatives: Tensor, interaction: Any) -> Collisions:
        return self._own_items(interaction)

    def _own_items(self, interaction: Any) -> PairCollisions:
        if CATALOGUE_OWN in interaction:
            return PairCollisions(*interaction[CATALOGUE_OWN].T)
        none = interaction[self.ITEM_ID][:0]
        return PairCollisions(none, none)


class WholeCatalogueMixin(PairMixin):
    """For general RecBole classes that read every item's vector in each step, as graph propagation does.

    Their items can be IDs or stored features; pictures would all go through the encoder in each step.
    """

    towers = ("id", "features")
    reads_all_items = True

    @classmethod
    def _check(cls, config: Any) -> None:
        if config["item_tower"] not in cls.towers:
            raise ValueError(
                f"item_tower is {config['item_tower']!r}; {cls.__name__} expected one of {', '.join(cls.towers)}: it "
                f"reads all items' vectors in each step, and the whole catalogue would go through the encoder each "
                f"time. Store what an encoder makes of the pictures with `recbole-pixel features extract`, and set "
                f"item_tower: features"
            )
        super()._check(config)

    _kept_inputs: Tensor | None = None

    def calculate_loss(self, interaction: Any) -> Tensor:
        """The step's loss; all items are encoded once, before anything looks them up; in float32.

        The backward pass of a sparse matrix product knows no bf16.
        """
        with (
            torch.autocast(interaction[self.ITEM_ID].device.type, enabled=False),
            self.item_tower.step(None, self._inputs()) as catalogue,
        ):
            return self.loss_in_step(catalogue, interaction)

    def _inputs(self) -> Tensor | None:
        """The stored features of all items, (N - 1, F): read once, and kept where the tower is; None for IDs."""
        if self._kept_inputs is None and isinstance(self.item_tower, ItemTower):
            ids = torch.arange(1, self.item_tower.num_embeddings)
            self._kept_inputs = self.item_tower.inputs.fetch(ids).to(self.item_tower.device)
        return self._kept_inputs

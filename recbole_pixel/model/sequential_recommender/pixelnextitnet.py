"""PixelNextItNet.

Yuan et al.: "A Simple Convolutional Generative Network for Next Item Recommendation", WSDM 2019; with an image encoder
for items as in Cheng et al.: "An Image Dataset for Benchmarking Recommender Systems with Raw Pixels" (PixelRec), SDM
2024. Differs from RecBole's class: the state is read at the last real item, where RecBole's reads the last position,
which in a short history is padding; and the item table is not regularised, since it is computed.
"""

from __future__ import annotations

from typing import Any

from recbole.model.loss import RegLoss
from recbole.model.sequential_recommender.nextitnet import NextItNet
from torch import Tensor

from recbole_pixel.model.pixel_mixin import PixelMixin


class PixelNextItNet(PixelMixin, NextItNet):
    """NextItNet whose items are pictures (or, with ``item_tower: id``, its ID twin)."""

    row_kinds = ("sequence", "prefix")

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.reg_loss = _ButTheFirst()

    def sequence_output(self, item_seq: Tensor, item_seq_len: Tensor | None = None) -> Tensor:
        """Hidden states at all positions: item ids (B, L), padded on the right, to (B, L, D)."""
        return self.final_layer(self.residual_blocks(self.item_embedding(item_seq)))

    def forward(self, item_seq: Tensor) -> Tensor:
        """Hidden states at the last item of each row: (B, L) to (B, D)."""
        return self.gather_indexes(self.sequence_output(item_seq), (item_seq > 0).sum(1) - 1)

    def extra_loss(self) -> Tensor:
        """L2 of the last layer and the convolutions, as RecBole's class adds it."""
        return self.reg_weight * self.reg_loss([None, self.final_layer.weight]) + self.reg_loss_rb()


class _ButTheFirst(RegLoss):
    """RecBole's L2 loss without its first parameter, which is the item table in ``NextItNet.calculate_loss``."""

    def forward(self, parameters: list[Any]) -> Tensor:
        return super().forward(parameters[1:])

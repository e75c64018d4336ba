"""PixelBERT4Rec.

Sun et al.: "BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations from Transformer", CIKM
2019; with an image encoder for items as in Cheng et al.: "An Image Dataset for Benchmarking Recommender Systems with
Raw Pixels" (PixelRec), SDM 2024. Differs from RecBole's class:

* the mask is a learnt vector beside the item tower, and items have no bias of their own (RecBole's would be the only
  thing known of an item that no picture tells);
* a training row is a stretch of a user's items with its last target, of which each is hidden with ``mask_ratio``, at
  least one; with chance ``ft_ratio``, it is cut behind a random item, and only that one is hidden (RecBole reads that
  key in vain); each row comes in ``masked_copies`` such ways in a step, which encodes no more pictures for it;
* the loss is taken at hidden items, the first of a row included (RecBole's leaves it out), over the step's catalogue;
* at evaluation the mask stands behind the whole history, for which there is one position more; RecBole's drops the
  oldest item, even of a short history.
"""

from __future__ import annotations

from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.loss import BPRLoss
from recbole.model.sequential_recommender.bert4rec import BERT4Rec
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_pixel.catalogue import StepCatalogue
from recbole_pixel.data.loader import CATALOGUE_TARGET, catalogue_fields
from recbole_pixel.model.cloze import draw_rows
from recbole_pixel.model.pixel_mixin import PixelMixin
from recbole_pixel.model.setting_ranges import check_counts, check_shares


class PixelBERT4Rec(PixelMixin, BERT4Rec):
    """BERT4Rec whose items are pictures (or, with ``item_tower: id``, its ID twin)."""

    row_kinds = ("sequence",)
    zeroed_id_parameters = ("output_bias",)
    is_causal = False

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        if self.pixel_loss_type == "BPR":
            self.loss_fct = BPRLoss()  # RecBole's class computes it by hand
        self.last_ratio, self.masked_copies = config["ft_ratio"], config["masked_copies"]
        self.position_embedding = nn.Embedding(self.max_seq_length + 1, self.hidden_size)
        self._init_weights(self.position_embedding)

    @classmethod
    def _check(cls, config: Any) -> None:
        super()._check(config)
        check_shares(config, ["mask_ratio", "ft_ratio"])
        check_counts(config, ["masked_copies"])

    def loss_in_step(self, catalogue: StepCatalogue | None, interaction: Any) -> Tensor:
        """The loss at hidden items; the row they are hidden in is its inputs and its last target."""
        shared = catalogue_fields(interaction)
        row = {
            field: interaction[field].repeat(self.masked_copies, *[1] * (interaction[field].dim() - 1))
            for field in interaction.columns
            if field not in shared
        }
        length = row[self.ITEM_SEQ_LEN][:, None]
        last = row[self.POS_ITEM_ID].gather(1, length - 1)
        items = F.pad(row[self.ITEM_SEQ], (0, 1)).scatter(1, length, last)
        items, hidden = draw_rows(items, self.mask_ratio, self.last_ratio)
        row[self.ITEM_SEQ] = items.masked_fill(hidden, self.mask_token)
        row[self.ITEM_SEQ_LEN] = (items > 0).sum(1)
        row[self.POS_ITEM_ID] = items.masked_fill(~hidden, 0)
        if self.NEG_ITEM_ID in interaction:
            negatives = row[self.NEG_ITEM_ID]
            row[self.NEG_ITEM_ID] = torch.cat([negatives[:, :1], negatives], dim=1)
        shared.pop(CATALOGUE_TARGET, None)  # the places of other targets
        return super().loss_in_step(catalogue, Interaction({**row, **shared}))

    def _rows_of_targets(self, interaction: Any) -> tuple[Tensor, Tensor]:
        seen = interaction[self.ITEM_SEQ]
        shown = {self.ITEM_SEQ: seen.masked_fill(seen == self.mask_token, 0)}
        return super()._rows_of_targets({**shown, self.POS_ITEM_ID: interaction[self.POS_ITEM_ID]})

    def sequence_output(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """Hidden states at all positions: ids (B, L), the mask's among them, to (B, L, D)."""
        return self.forward(item_seq)

    def reconstruct_test_data(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """Histories (B, L) with the mask behind each, (B, L + 1)."""
        return F.pad(item_seq, (0, 1)).scatter(1, item_seq_len[:, None], self.mask_token)

    def gather_indexes(self, output: Tensor, gather_index: Tensor) -> Tensor:
        """RecBole's, at the mask: one position behind the one it asks for, since no item was dropped before it."""
        return super().gather_indexes(output, gather_index + 1)

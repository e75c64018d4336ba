"""ACF.

Chen et al.: "Attentive Collaborative Filtering: Multimedia Recommendation with Item- and Component-Level Attention",
SIGIR 2017. A user attends to the components of what they consumed (regions of a picture), and to the items; the score
is ``(u + sum_l alpha_l p_l) . v_i``. Differs from PixelRec's version: the context of a target holds only items before
it (there: all other items of its chunk, later ones too), the user's vector is added as it is, and the components of a
step's items are read for the step (there: all items' lie on the device, 39 GB for 96 000 of them). Differs from the
paper: the context is a stretch of at most ``MAX_ITEM_LIST_LENGTH`` items.
"""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.model.init import xavier_normal_initialization
from torch import Tensor, nn

from recbole_pixel.item_tower import ItemTower
from recbole_pixel.model.pixel_mixin import PixelMixin
from recbole_pixel.model.stored_kind import COMPONENTS, StoredKind
from recbole_pixel.model.visual_recommender.component_encoder import ComponentEncoder
from recbole_pixel.model.visual_recommender.logistic_bpr import LogisticBPR


class AttentiveHistory(SequentialRecommender):
    """The two attentions, over a table whose row is, for each component x of an item, ``[W_2x x, W_1x x]``.

    ``W_1x`` is applied before components are summed: the weighted sum of projections is the projection of the sum.
    Constants that a softmax does not see (``c_1`` and ``c_2`` of the paper) are left out.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        size, self.attention_size = config["embedding_size"], config["attention_size"]
        self.item_embedding: Any = nn.Embedding(self.n_items, 2 * self.attention_size, padding_idx=0)
        self.user_embedding = nn.Embedding(dataset.num(self.USER_ID), size)  # u
        self.item_factors = nn.Embedding(self.n_items, size)  # v
        self.history_factors = nn.Embedding(self.n_items, size)  # p
        self.component_user = nn.Linear(size, self.attention_size)  # W_2u, b_2
        self.component_score = nn.Linear(self.attention_size, 1, bias=False)  # w_2
        self.item_user = nn.Linear(size, self.attention_size)  # W_1u, b_1
        self.item_target = nn.Linear(size, self.attention_size, bias=False)  # W_1v
        self.item_history = nn.Linear(size, self.attention_size, bias=False)  # W_1p
        self.item_score = nn.Linear(self.attention_size, 1, bias=False)  # w_1
        self.loss_fct: nn.Module = LogisticBPR()
        self.apply(xavier_normal_initialization)

    def states(self, interaction: Any) -> Tensor:
        """Users at each position of their row, from the items up to it: (B, L, D)."""
        user, item_seq = self.user_embedding(interaction[self.USER_ID]), interaction[self.ITEM_SEQ]
        history = self.history_factors(item_seq)
        hidden = self.item_target(self.item_factors(item_seq)) + self.item_history(history)
        hidden = hidden + self.item_user(user)[:, None] + self._content(user, item_seq)
        logits = self.item_score(hidden.relu()).transpose(1, 2)  # (B, 1, L): the same for all positions that may look
        is_behind = torch.ones(item_seq.shape[1], item_seq.shape[1], dtype=torch.bool, device=logits.device).triu(1)
        return user[:, None] + logits.masked_fill(is_behind, -torch.inf).softmax(-1) @ history

    def _content(self, user: Tensor, item_seq: Tensor) -> Tensor:
        """``W_1x`` of each item's components, weighted by the user's attention: (B, D) and (B, L) to (B, L, A)."""
        components = self.item_embedding(item_seq).unflatten(-1, (-1, 2 * self.attention_size))
        asked, shown = components.chunk(2, dim=-1)
        hidden = asked + self.component_user(user)[:, None, None]
        return (self.component_score(hidden.relu()).softmax(-2) * shown).sum(-2)

    def forward(self, interaction: Any) -> Tensor:
        """Users at the last item of each row, (B, D)."""
        return self.gather_indexes(self.states(interaction), interaction[self.ITEM_SEQ_LEN] - 1)

    def calculate_loss(self, interaction: Any) -> Tensor:
        """BPR of rows of one target."""
        user = self.forward(interaction)
        return self.loss_fct(*(self.scores(user, interaction[key]) for key in (self.POS_ITEM_ID, self.NEG_ITEM_ID)))

    def scores(self, users: Tensor, items: Tensor) -> Tensor:
        """Products of users (..., D) and the targets' factors of ``items`` (...)."""
        return (users * self.item_factors(items)).sum(-1)


class ACF(PixelMixin, AttentiveHistory):
    """ACF over stored components; it ranks by ID factors, so it knows nothing of an item that was never trained on."""

    towers = ("features",)
    row_kinds = ("sequence", "prefix")
    loss_types = ("BPR",)
    id_parameters = ("item_factors", "history_factors")
    is_causal = False  # it is, but `sequence_output` cannot show it: states need the user, too

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        inputs: Any = self.item_embedding.inputs
        n_components, n_features = inputs.shape
        encoder = ComponentEncoder(n_components, n_features, 2 * self.attention_size)
        self.item_embedding = ItemTower(encoder, inputs, self.n_items, None)
        self.rows_at_a_time = max(1, config["encoder_chunk"] // self.max_seq_length)

    @classmethod
    def _check(cls, config: Any) -> None:
        super()._check(config)
        if config["standardise_features"]:
            raise ValueError(
                "standardise_features is True; ACF reads components as they are: leave it at False, or standardise "
                "them before they are stored"
            )

    @classmethod
    def _stored_kind(cls, config: Any) -> StoredKind:
        return COMPONENTS

    def _sequence_loss(self, interaction: Any) -> Tensor:
        targets = interaction[self.POS_ITEM_ID]
        is_target = targets > 0
        states = self.states(interaction)[is_target]
        negatives = interaction[self.NEG_ITEM_ID][is_target]
        return self.loss_fct(self.scores(states, targets[is_target]), self.scores(states, negatives))

    def predict(self, interaction: Any) -> Tensor:
        """Scores of the rows' items, (B,)."""
        return self.scores(self._encoded_users(interaction), interaction[self.ITEM_ID])

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items, (B, N)."""
        return self._encoded_users(interaction) @ self.item_factors.weight.T

    def _encoded_users(self, interaction: Any) -> Tensor:
        """Users (B, D), the components of some rows' histories read at a time: never those of all items."""
        users = []
        for first in range(0, len(interaction[self.ITEM_SEQ]), self.rows_at_a_time):
            part = interaction[first : first + self.rows_at_a_time]
            ids = part[self.ITEM_SEQ].unique()
            with self.item_tower.step(ids if ids[0] == 0 else torch.cat([ids.new_zeros(1), ids])):
                users.append(self.forward(part))
        return torch.cat(users)

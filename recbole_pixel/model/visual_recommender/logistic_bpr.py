"""BPR without a constant inside its logarithm."""

from __future__ import annotations

from recbole.model.loss import BPRLoss
from torch import Tensor
from torch.nn import functional as F


class LogisticBPR(BPRLoss):
    """Rendle et al., UAI 2009, as it stands.

    RecBole's adds 1e-10 to the sigmoid, and stops learning from pairs that are ordered wrongly by 23 and more.
    """

    def forward(self, pos_score: Tensor, neg_score: Tensor) -> Tensor:
        """The mean over pairs of ``-log sigmoid(positive - negative)``; both of shape (T,)."""
        return F.softplus(neg_score - pos_score).mean()

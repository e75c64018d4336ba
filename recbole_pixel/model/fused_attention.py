"""Attention of RecBole's Transformers through torch's fused kernels: the same function, its scores never in memory."""

from __future__ import annotations

from typing import Any

from recbole.model.layers import MultiHeadAttention
from torch import Tensor, nn
from torch.nn import functional as F


class FusedAttention(MultiHeadAttention):
    """RecBole's ``MultiHeadAttention`` with ``scaled_dot_product_attention``; parameters and their names are the same.

    Dropout on the attention draws other random numbers than RecBole's does; without it both give the same.
    """

    def forward(self, input_tensor: Tensor, attention_mask: Tensor) -> Tensor:
        """States of shape (B, L, D).

        Args:
            input_tensor: shape (B, L, D).
            attention_mask: what is added to the scores, broadcast to (B, heads, L, L).
        """
        projections = (self.query, self.key, self.value)
        query, key, value = (self.transpose_for_scores(part(input_tensor)).transpose(1, 2) for part in projections)
        dropout = self.attn_dropout.p if self.training else 0.0
        mask = attention_mask.to(query.dtype)  # under autocast the projections are of another type than the mask
        context = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        return self.LayerNorm(self.out_dropout(self.dense(context.transpose(1, 2).flatten(2))) + input_tensor)


def fuse_attention(model: nn.Module, kind: str, device: str) -> int:
    """Fuses the attention of ``model`` where ``kind`` asks for it; returns of how many layers.

    Args:
        model: its layers of exactly RecBole's class are fused; models with an attention of their own keep it.
        kind: ``fused``, ``stock``, or ``auto``: fused on an accelerator, and where nothing is dropped from the
            attention. With dropout a CPU has no fused kernel, and is slower (``benchmarks/attention.py``).
        device: where the model runs.
    """
    layers: list[Any] = [module for module in model.modules() if type(module) is MultiHeadAttention]
    if kind == "auto":
        layers = [layer for layer in layers if not device.startswith("cpu") or not layer.attn_dropout.p]
    for layer in layers if kind != "stock" else ():
        layer.__class__ = FusedAttention
    return 0 if kind == "stock" else len(layers)

"""Prompts to vectors: a backbone reads, what it says of an item's or a history's tokens is pooled."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recbole_pixel.encoder.prompts import Prompts

POOLINGS = ("mean", "last")


class PromptReader(nn.Module):
    """A backbone and a way to make one vector of many.

    Args:
        backbone: a :class:`~recbole_pixel.encoder.vlm.backbone.VisionLanguageBackbone`, or one of text alone.
        pooling: ``mean`` of the last hidden states of all its tokens, or that of the ``last``.

    Raises:
        ValueError: ``pooling`` is neither.
        TypeError: in the backbone a token sees what is behind it: a history would be read with its target.
    """

    def __init__(self, backbone: Any, pooling: str = "mean") -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"pooling is {pooling!r}; expected one of {', '.join(POOLINGS)}")
        self.backbone, self.pooling = backbone, pooling
        self.n_features = int(backbone.hidden_size)
        self._check_causal()

    @torch.no_grad()
    def _check_causal(self) -> None:
        backbone, was_training = self.backbone, self.backbone.training
        device = next(backbone.parameters()).device
        backbone.eval()
        words = [token for token in range(8) if token not in getattr(backbone, "marks", ())][:5]
        ids = torch.tensor([words[:4], [*words[:3], words[4]]], device=device)
        before, other = backbone.read(ids, torch.ones_like(ids, dtype=torch.bool), None)[:, :3].float()
        backbone.train(was_training)
        if not torch.allclose(before, other, rtol=1e-2, atol=1e-3):
            raise TypeError(
                f"in {backbone.name or type(backbone).__name__} a token sees what is behind it: the vector of a "
                f"history would know its target; take a model that reads from left to right"
            )

    def hidden(self, prompts: Prompts, pictures: Tensor | None) -> Tensor:
        """Last hidden states, (B, T, H).

        Args:
            prompts: on the backbone's device.
            pictures: features of their pictures, (n, P, W), in the order of ``prompts.pictures``; None for none.
        """
        shown = pictures if pictures is not None and len(pictures) else None
        states: Tensor = self.backbone.read(prompts.ids, prompts.mask, shown)
        return states

    def pooled(self, hidden: Tensor, chosen: Tensor) -> Tensor:
        """One vector for the chosen tokens of each row: hidden (B, T, H), chosen bool (B, T), to float32 (B, H)."""
        if self.pooling == "last":
            places = torch.arange(chosen.shape[1], device=chosen.device)
            last = torch.where(chosen, places, 0).amax(1)
            return hidden[torch.arange(len(hidden), device=hidden.device), last].float()
        kept = hidden.float().masked_fill(~chosen[..., None], 0.0)  # padding may be anything, NaN too
        return kept.sum(1) / chosen.sum(1, keepdim=True).clamp(min=1)

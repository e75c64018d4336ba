"""Features of all stages of an encoder: what early ones see of colour and texture, late ones no longer tell."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from recbole_pixel.encoder import ImageEncoder
from recbole_pixel.encoder.stages import stage_chain
from recbole_pixel.features.layers import Layer, positions_of

STAGES = "stages"
MOST_STAGES = 8
"""Of an encoder that has more, as transformers of a dozen blocks, so many are taken, first and last among them."""

FLAT = 1e-4
"""Share of a stage's usual deviation below which a number says nothing of pictures, and is left out as zero."""


class Stages(Layer):
    """Mean and deviation over positions of what each stage makes of pictures, and the pooled features.

    Each number is centred and scaled by its deviation over a sample of the pictures (:meth:`fit`), and each stage then
    weighs the same, however many numbers it has.

    Args:
        encoder: whole and frozen, of a family whose stages are known.

    Raises:
        ValueError: they are not.
    """

    n_to_fit = 1024

    def __init__(self, encoder: ImageEncoder) -> None:
        chain = stage_chain(encoder.backbone)
        if chain is None:
            raise ValueError(
                f"layer is {STAGES}, but those of {encoder.name} are not known; use pooled, last or a module"
            )
        self.encoder, self.is_spatial, self.name = encoder.eval(), False, STAGES
        n_taken = min(len(chain.stages), MOST_STAGES)
        taken = torch.linspace(0, len(chain.stages) - 1, n_taken).round().long().tolist()
        self.modules = [chain.stages[place].modules[0] for place in taken]
        picture = torch.zeros(1, 3, encoder.image_size, encoder.image_size, dtype=torch.uint8)
        self.sizes = [part.shape[1] for part in self._parts(picture.to(encoder.mean.device))]
        self.shape = (sum(self.sizes),)
        self.center, self.scale = torch.zeros(self.shape), torch.ones(self.shape)

    def fit(self, blocks: Iterable[Tensor]) -> None:
        """Finds shift and scale of every number from pictures, blocks of uint8 (n, 3, H, W)."""
        found = torch.cat([torch.cat(self._parts(pixels), 1).double().cpu() for pixels in blocks])
        deviations = found.std(0, correction=0).split(self.sizes)
        self.center = found.mean(0).float()
        self.scale = torch.cat([self._scale_of(deviation) for deviation in deviations]).float()

    def _scale_of(self, deviation: Tensor) -> Tensor:
        usual = deviation.square().mean().sqrt()
        says = deviation > FLAT * usual
        weight = (self.shape[0] / len(self.sizes) / says.sum().clamp(min=1)).sqrt()
        return torch.where(says, weight / deviation, 0.0)

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Features of pictures: uint8 (U, 3, H, W) to (U, F)."""
        found = torch.cat(self._parts(pixels), 1)
        return (found - self.center.to(found.device)) * self.scale.to(found.device)

    @torch.no_grad()
    def _parts(self, pixels: Tensor) -> list[Tensor]:
        """Of each stage means and deviations over positions, (U, 2 C); the pooled features, (U, F)."""
        backbone: Any = self.encoder.backbone
        seen: list[Tensor] = []
        with ExitStack() as hooks:
            for module in self.modules:
                hooks.enter_context(module.register_forward_hook(lambda _, __, output: seen.append(output)))
            last = backbone.forward_features(self.encoder.normalise(pixels))
        parts = []
        for output in seen:
            positions = positions_of(backbone, output).float()
            parts.append(torch.cat([positions.mean(1), positions.std(1, correction=0)], 1))
        return [*parts, backbone.forward_head(last, pre_logits=True).flatten(1).float()]


def make_layer(encoder: ImageEncoder, layer: str | None = None, *, is_spatial: bool = False) -> Layer:
    """The layer of that name, see :class:`Layer`, or ``stages``.

    Raises:
        ValueError: there is no such layer, or it has no positions to keep.
    """
    if layer != STAGES:
        return Layer(encoder, layer, is_spatial=is_spatial)
    if is_spatial:
        raise ValueError(f"layer is {STAGES}, of which no positions are left; for spatial features use last or a stage")
    return Stages(encoder)

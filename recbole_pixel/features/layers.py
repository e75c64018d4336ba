"""The layers of an encoder that features can be taken from."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from recbole_pixel.encoder import ImageEncoder
from recbole_pixel.encoder.stages import stage_chain

POOLED, LAST = "pooled", "last"


class Layer:
    """What one layer of an encoder makes of pictures.

    Args:
        encoder: whole and frozen.
        layer: ``pooled`` (what the encoder gives to a classifier), ``last`` (its feature map, before pooling), the
            number of a stage (0, 1, ..., or -1 for the last) or the name of any module, such as ``layer3`` or
            ``blocks.10``; by default ``last`` if ``is_spatial``, else ``pooled``.
        is_spatial: keep the positions of the feature map; else their mean is taken. Class and register tokens of a
            transformer are no positions.

    Attributes:
        name: ``pooled``, ``last`` or the name of the module.

    Raises:
        ValueError: there is no such layer, or it has no positions to keep.
    """

    n_to_fit = 0  # pictures that it is to be fitted to before it is used

    def __init__(self, encoder: ImageEncoder, layer: str | None = None, *, is_spatial: bool = False) -> None:
        self.encoder, self.is_spatial = encoder.eval(), is_spatial
        self.name = _resolved(encoder, layer or (LAST if is_spatial else POOLED))
        if is_spatial and self.name == POOLED:
            raise ValueError("layer is pooled, which has no positions left; for spatial features use last or a stage")
        picture = torch.zeros(1, 3, encoder.image_size, encoder.image_size, dtype=torch.uint8)
        self.shape = tuple(self(picture.to(encoder.mean.device)).shape[1:])

    def fit(self, blocks: Iterable[Tensor]) -> None:
        """Takes what it needs to know of the pictures from some of them, blocks of uint8 (n, 3, H, W): nothing."""

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Features of pictures: uint8 (U, 3, H, W) to (U, C), or to (U, P, C) for P positions, row by row."""
        if self.name == POOLED:
            return self.encoder(pixels)
        x = self.encoder.normalise(pixels)
        backbone: Any = self.encoder.backbone
        positions = positions_of(backbone, backbone.forward_features(x) if self.name == LAST else self._within(x))
        return positions if self.is_spatial else positions.mean(1)

    def _within(self, x: Tensor) -> Tensor:
        """The output of the module of that name, seen while the whole network runs: right for any architecture."""
        backbone: Any = self.encoder.backbone
        seen: list[Tensor] = []
        handle = backbone.get_submodule(self.name).register_forward_hook(lambda _, __, output: seen.append(output))
        try:
            backbone.forward_features(x)
        finally:
            handle.remove()
        if not seen or not isinstance(seen[-1], Tensor):
            raise ValueError(f"the layer {self.name} of {self.encoder.name} makes no feature map; use a stage")
        return seen[-1]


def positions_of(backbone: Any, x: Tensor) -> Tensor:
    """A feature map of any family as (U, P, C)."""
    if x.dim() == 4:
        is_last = str(getattr(backbone, "output_fmt", "NCHW")) == "NHWC"
        return x.flatten(1, 2) if is_last else x.flatten(2).transpose(1, 2)
    if x.dim() == 3:
        return x[:, int(getattr(backbone, "num_prefix_tokens", 0)) :]
    raise ValueError(
        f"the layer gives arrays of shape {tuple(x.shape)}, expected a feature map (pictures, channels, height, width) "
        f"or tokens (pictures, positions, channels); use pooled, last or a stage"
    )


def _resolved(encoder: ImageEncoder, layer: str) -> str:
    """The name of a layer that was given by name or by number."""
    if layer in (POOLED, LAST):
        return layer
    modules: dict[str, nn.Module] = dict(encoder.backbone.named_modules())
    stages = _stage_names(encoder.backbone, modules)
    try:
        return stages[int(layer)]
    except IndexError:
        raise ValueError(f"layer is {layer}, but {encoder.name} has {len(stages)} stages that are known") from None
    except ValueError:
        pass
    if layer and layer in modules:
        return layer
    nearest = get_close_matches(layer, modules, n=1, cutoff=0.0)
    raise ValueError(
        f"layer is {layer!r}, which {encoder.name} does not have; the nearest name is {nearest[0]!r}, its stages are "
        f"{', '.join(stages) or 'not known'}; or use pooled or last"
    )


def _stage_names(backbone: nn.Module, modules: dict[str, nn.Module]) -> list[str]:
    chain = stage_chain(backbone)
    names = {id(module): name for name, module in modules.items()}
    return [] if chain is None else [names[id(stage.modules[0])] for stage in chain.stages]

"""What an encoder costs: parameters, arithmetic and the size of its cached activations; counted, nothing is run."""

from __future__ import annotations

from dataclasses import dataclass

import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

from recbole_pixel.encoder.image import ImageEncoder
from recbole_pixel.encoder.presets import find_preset

FLOAT32 = 4  # bytes


@dataclass(frozen=True)
class EncoderCost:
    """An encoder's size and work.

    Attributes:
        timm_name: which model and weights it is.
        image_size: side of the square input in pixels.
        tune: how much of it learns.
        n_features: F, numbers in a picture's vector.
        n_parameters: all of them, without a classifier.
        n_trained: those that learn under ``tune``.
        trained_modules: where these are.
        flops: of one picture, forward; a multiplication and an addition count as two. Convolutions and matrix
            products are counted, attention included.
        head_flops: those behind the cut: what a step pays, once per picture, where the trunk's output is cached.
        trunk_bytes: a picture's entry in the cache of the trunk, float32; 0 under ``full``, which caches none.
        licence: of the weights.
    """

    timm_name: str
    image_size: int
    tune: str
    n_features: int
    n_parameters: int
    n_trained: int
    trained_modules: tuple[str, ...]
    flops: int
    head_flops: int
    trunk_bytes: int
    licence: str


def encoder_cost(name: str, tune: str, image_size: int | None = None) -> EncoderCost:
    """The cost of the encoder that ``name`` spells; takes a fraction of a second and no memory.

    Raises:
        ValueError: as :class:`ImageEncoder` raises it.
    """
    with torch.device("meta"):
        encoder = ImageEncoder(name, weights="random", tune=tune, image_size=image_size)
        pixels = torch.zeros(1, 3, encoder.image_size, encoder.image_size, dtype=torch.uint8)
    n_trained = sum(parameter.numel() for parameter in encoder.parameters() if parameter.requires_grad)
    trained_modules = tuple(encoder.trained_modules())
    encoder.eval().requires_grad_(False)  # the counter fails where only some of a module's inputs have a gradient
    with FlopCounterMode(display=False) as trunk:
        activations = encoder.trunk(pixels)
    with FlopCounterMode(display=False) as head:
        encoder.head(activations)
    return EncoderCost(
        timm_name=encoder.name,
        image_size=encoder.image_size,
        tune=str(encoder.tuning),
        n_features=encoder.n_features,
        n_parameters=sum(parameter.numel() for parameter in encoder.parameters()),
        n_trained=n_trained,
        trained_modules=trained_modules,
        flops=trunk.get_total_flops() + head.get_total_flops(),
        head_flops=head.get_total_flops(),
        trunk_bytes=0 if encoder.tuning.kind == "full" else activations.numel() * FLOAT32,
        licence=weights_licence(name),
    )


def weights_licence(name: str) -> str:
    """The licence of the weights that ``name`` stands for, as the preset or else timm states it."""
    preset = find_preset(name)
    if preset is not None:
        return preset.licence
    config = timm.get_pretrained_cfg(name)
    return (config and config.license) or "not stated"

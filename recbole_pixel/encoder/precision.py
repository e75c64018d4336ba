"""Which numbers an encoder and a recommender compute in."""

from __future__ import annotations

import torch

PRECISIONS = {"float32": None, "bf16": torch.bfloat16}


def autocast_type(precision: str, device: torch.device, encodes: bool = False) -> torch.dtype | None:
    """The type of autocast, None for none; ``auto`` is bf16 where the device computes faster in it.

    That is an accelerator that has bf16, and a CPU with instructions for it while it trains an encoder: in networks as
    small as a recommender's alone, the casts cost a CPU more than they save.

    Args:
        precision: ``auto``, ``float32`` or ``bf16``.
        device: where the model computes.
        encodes: whether a picture encoder is part of the model.

    Raises:
        ValueError: unknown ``precision``.
    """
    if precision == "auto":
        has_bf16 = torch.cuda.is_bf16_supported() if device.type == "cuda" else encodes and cpu_has_bf16()
        return torch.bfloat16 if has_bf16 else None
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; expected auto, {', '.join(PRECISIONS)}")
    return PRECISIONS[precision]


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 in hardware (AVX512-BF16 or AMX); emulated, it is slower than float32."""
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in asked)


def trunk_cache_type(asked: str, precision: str, device: torch.device, tune: str) -> torch.dtype:
    """What activations of a frozen trunk are kept in.

    ``auto`` keeps them as the part behind the cut computes: it rounds them to bf16 under autocast anyway, and half the
    bytes are half the disk, memory and reading. Features of an encoder that is frozen whole are few and final: they
    stay float32.

    Args:
        asked: ``auto``, ``float32`` or ``bf16``.
        precision: see :func:`autocast_type`.
        device: where the model computes.
        tune: how much of the encoder learns.

    Raises:
        ValueError: unknown ``asked``.
    """
    if asked == "auto":
        return torch.float32 if tune == "frozen" else autocast_type(precision, device, encodes=True) or torch.float32
    if asked not in PRECISIONS:
        raise ValueError(f"trunk_cache_type is {asked!r}; expected auto, {', '.join(PRECISIONS)}")
    return PRECISIONS[asked] or torch.float32

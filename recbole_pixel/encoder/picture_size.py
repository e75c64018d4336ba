"""Which sizes of pictures a model takes: asked of the model itself, on the meta device, where nothing is computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import timm
import torch
from timm.layers import PatchEmbed

from recbole_pixel.encoder.weights import create_backbone

COARSE = 32  # pixels: what most networks shrink a picture by


def check_picture_size(name: str, size: int) -> None:
    """Refuses pictures that a model cannot take, or of which it would leave the border out.

    Args:
        name: timm's name of the model.
        size: side of its input in pixels.

    Raises:
        ValueError: says why, and which sizes work.
    """
    own = _own_size(name)
    if size < 1:
        raise ValueError(f"image_size is {size}; expected a side in pixels, such as {own}, that of {name}")
    if size == own:
        return
    reason, patch = _tried(name, size)
    if not reason:
        return
    failed, own_patch = _tried(name, own)
    if failed:  # nothing can be told without computing; the encoder's own first pass will tell
        return
    raise _refusal(name, size, reason, patch or own_patch)


@contextmanager
def told_of_the_size(name: str, size: int) -> Iterator[None]:
    """Inside, a model of that name computes on pictures of that size; what torch 2.6 tells only then is told as here.

    Raises:
        ValueError: it cannot; says why, and which sizes work.
    """
    try:
        yield
    except RuntimeError as error:
        if size == _own_size(name):
            raise
        raise _refusal(name, size, _words(error), 0) from error


def _own_size(name: str) -> int:
    config = timm.get_pretrained_cfg(name)
    return int(config.input_size[-1]) if config else 224


def _refusal(name: str, size: int, reason: str, patch: int) -> ValueError:
    return ValueError(f"image_size is {size}: {reason}; {name} takes {_sizes(name, size, _own_size(name), patch)}")


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def _sizes(name: str, size: int, own: int, patch: int) -> str:
    """Sizes near ``size`` that work, in words."""
    step = patch or COARSE
    near = [side for side in (size // step * step, (size // step + 1) * step) if side]
    works = sorted({own, *(side for side in near if not _tried(name, side)[0])})
    words = " or ".join([", ".join(map(str, works[:-1])), str(works[-1])] if works[:-1] else [str(own)])
    return f"pictures of a multiple of {patch} pixels, such as {words}" if patch else words


@lru_cache(maxsize=256)
def _tried(name: str, size: int) -> tuple[str, int]:
    """Why a model does not take a size, empty where it does; and the side of its patches, 0 where it has none.

    Asked once in a process: a tenth of a second for a small network, which a comparison builds again and again.
    """
    patch = 0
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"), torch.no_grad():
            model = create_backbone(name, "random", size).eval()
            patch = _patch(model)
            model.forward_head(model.forward_features(torch.zeros(1, 3, size, size)), pre_logits=True)
    except Exception as error:  # each family has errors of its own
        return _words(error), patch
    return (f"its patches of {patch} pixels would leave the border out" if patch and size % patch else ""), patch


def _patch(model: Any) -> int:
    """Side of the patches that a picture is cut into, where what is left over is ignored; else 0."""
    cuts = [module for module in model.modules() if isinstance(module, PatchEmbed) and not module.dynamic_img_pad]
    return int(cuts[0].patch_size[0]) if cuts else 0

"""The stages of a timm model, in order, each runnable on its own.

An encoder is cut between two stages: what lies before the cut is frozen (its output can be computed once per item and
kept), what lies behind it learns. timm has no such cut, so each family's ``forward_features`` is a chain here;
``tests/encoder/test_stages.py`` holds every chain against the model's own forward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recbole_pixel.encoder.first_token import for_first, only_first_is_read


class UnknownStagesError(ValueError):
    """A model whose stages are not known here can be frozen or learn in full, but not be cut."""


class Stage(NamedTuple):
    """A piece of a model.

    Attributes:
        modules: what belongs to it; these learn or stay frozen together.
        run: from the previous stage's output to this one's.
    """

    modules: tuple[nn.Module, ...]
    run: Callable[[Tensor], Tensor]


class StageChain(NamedTuple):
    """A model as stem, stages and tail; the tail ends in pooled features of shape (U, F)."""

    stem: Stage
    stages: list[Stage]
    tail: Stage


def _each(modules: Iterable[nn.Module]) -> list[Stage]:
    return [Stage((module,), module) for module in modules]


def _present(model: Any, *names: str) -> tuple[nn.Module, ...]:
    return tuple(getattr(model, name) for name in names if isinstance(getattr(model, name, None), nn.Module))


def _pooled(model: Any, x: Tensor) -> Tensor:
    return model.forward_head(x, pre_logits=True).flatten(1)


_HEAD = ("global_pool", "attn_pool", "fc_norm", "head_drop", "head", "flatten")


def _residual_network(model: Any) -> StageChain:
    def stem(x: Tensor) -> Tensor:
        return model.maxpool(model.act1(model.bn1(model.conv1(x))))

    return StageChain(
        Stage(_present(model, "conv1", "bn1", "act1", "maxpool"), stem),
        _each([model.layer1, model.layer2, model.layer3, model.layer4]),
        Stage(_present(model, *_HEAD), lambda x: _pooled(model, x)),
    )


def _mobile_network(model: Any) -> StageChain:
    """EfficientNet and MobileNet: the 1x1 convolution behind the last stage counts as part of the tail."""
    late = hasattr(model, "norm_head")  # MobileNetV3 convolves behind the pooling, inside forward_head

    def tail(x: Tensor) -> Tensor:
        return _pooled(model, x if late else model.bn2(model.conv_head(x)))

    return StageChain(
        Stage(_present(model, "conv_stem", "bn1"), lambda x: model.bn1(model.conv_stem(x))),
        _each(model.blocks),
        Stage(_present(model, "conv_head", "bn2", "norm_head", "act2", *_HEAD), tail),
    )


def _staged_network(model: Any) -> StageChain:
    """ConvNeXt, ByobNet (CLIP's ResNets) and RegNet: a stem, ``stages`` or ``s1``.., an optional last layer."""
    stages = model.stages if hasattr(model, "stages") else [model.s1, model.s2, model.s3, model.s4]

    def tail(x: Tensor) -> Tensor:
        for last in _present(model, "final_conv", "norm_pre"):
            x = last(x)
        return _pooled(model, x)

    return StageChain(
        Stage((model.stem,), model.stem), _each(stages), Stage(_present(model, "final_conv", "norm_pre", *_HEAD), tail)
    )


def _hierarchical_transformer(model: Any) -> StageChain:
    return StageChain(
        Stage((model.patch_embed,), model.patch_embed),
        _each(model.layers),
        Stage(_present(model, "norm", *_HEAD), lambda x: _pooled(model, model.norm(x))),
    )


def _vision_transformer(model: Any) -> StageChain:
    def stem(x: Tensor) -> Tensor:
        return model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(x))))

    block = model.blocks[-1]
    last = Stage((block,), for_first(block) if only_first_is_read(model) else block)
    return StageChain(
        Stage(_present(model, "patch_embed", "pos_drop", "patch_drop", "norm_pre"), stem),
        [*_each(model.blocks[:-1]), last],
        Stage(_present(model, "norm", *_HEAD), lambda x: _pooled(model, model.norm(x))),
    )


def _rotary_transformer(model: Any) -> StageChain:
    """Eva, which is DINOv3 too: a ViT whose blocks are told the rotations of the grid's positions."""

    def stem(x: Tensor) -> Tensor:
        return model.norm_pre(model._pos_embed(model.patch_embed(x))[0])

    def rotations() -> Any:
        if model.rope is None:
            return None
        fixed = hasattr(model.rope, "feat_shape") and not model.dynamic_img_size
        return model.rope.get_embed() if fixed else model.rope.get_embed(shape=model.patch_embed.grid_size)

    def block(place: int, module: nn.Module) -> Callable[[Tensor], Tensor]:
        def run(x: Tensor) -> Tensor:
            rope = rotations()
            return module(x, rope=rope[place] if getattr(model, "rope_mixed", False) else rope)

        return run

    return StageChain(
        Stage(_present(model, "patch_embed", "pos_drop", "patch_drop", "norm_pre", "rope"), stem),
        [Stage((module,), block(place, module)) for place, module in enumerate(model.blocks)],
        Stage(_present(model, "norm", *_HEAD), lambda x: _pooled(model, model.norm(x))),
    )


def _beit(model: Any) -> StageChain:
    def stem(x: Tensor) -> Tensor:
        x = model.patch_embed(x)
        x = torch.cat((model.cls_token.expand(x.shape[0], -1, -1), x), dim=1)
        return model.pos_drop(x if model.pos_embed is None else x + model.pos_embed)

    def block(module: nn.Module) -> Callable[[Tensor], Tensor]:
        def run(x: Tensor) -> Tensor:
            shared = None if model.rel_pos_bias is None else model.rel_pos_bias()
            return module(x, shared_rel_pos_bias=shared)

        return run

    return StageChain(
        Stage(_present(model, "patch_embed", "pos_drop", "rel_pos_bias"), stem),
        [Stage((module,), block(module)) for module in model.blocks],
        Stage(_present(model, "norm", *_HEAD), lambda x: _pooled(model, model.norm(x))),
    )


def stage_chain(model: Any) -> StageChain | None:
    """``model`` as a chain of stages, or None where its family is not known here."""
    family = type(model).__name__
    if family == "Beit":
        return _beit(model)
    if family == "Eva":
        return _rotary_transformer(model)
    if family in ("VisionTransformer", "VisionTransformerDistilled"):
        return _vision_transformer(model)
    if hasattr(model, "layer4") and hasattr(model, "conv1"):
        return _residual_network(model)
    if hasattr(model, "conv_stem") and hasattr(model, "blocks"):
        return _mobile_network(model)
    if family in ("SwinTransformer", "SwinTransformerV2") and hasattr(model, "layers"):
        return _hierarchical_transformer(model)
    if hasattr(model, "stem") and (hasattr(model, "stages") or hasattr(model, "s1")):
        return _staged_network(model)
    return None

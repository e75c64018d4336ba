"""Batch normalisation with fixed statistics, evaluated inside the convolution before it.

With fixed statistics, ``norm(conv(x))`` is one convolution: its weight scaled by ``a = gamma / sqrt(variance + eps)``,
its bias ``beta - mean * a``. Weights are small beside activations, so this saves passes over the activations, forward
and backward; the gradients of weight, gamma and beta are the same, through ``a``. Parameters and buffers stay where
they are. `benchmarks/frozen_batch_norm.py` measures it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class FoldedPair(NamedTuple):
    """Names, within a model, of a convolution and of the norm that alone reads its output."""

    conv: str
    norm: str


@contextmanager
def folded(model: nn.Module, pairs: list[FoldedPair]) -> Iterator[None]:
    """Runs the norms of ``pairs`` inside their convolutions, for as long as it lasts; those that train run as ever."""
    changed = []
    for pair in pairs:
        conv, norm = model.get_submodule(pair.conv), model.get_submodule(pair.norm)
        if norm.training:
            continue
        conv.forward, norm.forward = partial(_convolve, conv, norm), partial(_activate, norm)
        changed += [conv, norm]
    try:
        yield
    finally:
        for module in changed:
            del module.forward  # the class's own again


def _convolve(conv: Any, norm: Any, x: Tensor) -> Tensor:
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    mean = norm.running_mean if conv.bias is None else norm.running_mean - conv.bias
    return conv._conv_forward(x, conv.weight * scale.view(-1, 1, 1, 1), norm.bias - mean * scale)


def _activate(norm: Any, x: Tensor) -> Tensor:
    return norm.act(norm.drop(x)) if isinstance(norm, BatchNormAct2d) else x


def find_pairs(model: nn.Module, run: Callable[[], object]) -> list[FoldedPair]:
    """Pairs of ``model`` that may be folded, seen while it runs.

    Seen, not read from the names of modules: only so is it certain that nothing but the norm reads the convolution.

    Args:
        model: holds the modules.
        run: runs what is to be looked at, once, on any input.
    """
    convs, norms = _foldable(model, nn.Conv2d), _foldable(model, nn.BatchNorm2d, BatchNormAct2d)
    with torch.no_grad(), _Readers() as seen:
        run()
    pairs = [
        FoldedPair(convs[weight], norms[reader])
        for weight, output in seen.outputs
        if weight in convs and len(readers := seen.readers[id(output)]) == 1 and (reader := readers[0]) in norms
    ]
    once = [weight for weight, _ in seen.outputs]
    return [pair for pair in pairs if once.count(id(model.get_submodule(pair.conv).weight)) == 1]


def _foldable(model: nn.Module, *kinds: type[nn.Module]) -> dict[int, str]:
    """Names of modules whose forward is that of ``kinds``, not of a subclass with more to it, by id of their weight."""
    return {
        id(module.weight): name
        for name, module in model.named_modules()
        if isinstance(getattr(module, "weight", None), nn.Parameter)
        and type(module).forward in [kind.forward for kind in kinds]
    }


class _Readers(TorchFunctionMode):
    """Who reads the outputs of convolutions: ids of the weights of norms, or None for any other function."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[tuple[int, Tensor]] = []  # by id of the weight; kept, as ids are unique among the living
        self.readers: dict[int, list[int | None]] = {}

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        result = function(*args, **named)
        if isinstance(result, Tensor):  # not the many functions that only ask for a shape
            reader = _weight_of_norm(*args, **named) if function is F.batch_norm else None
            for value in (*args, *named.values()):
                for tensor in value if isinstance(value, (list, tuple)) else (value,):
                    if id(tensor) in self.readers:
                        self.readers[id(tensor)].append(reader)
            if function is F.conv2d:
                self.outputs.append((id(args[1]), result))
                self.readers[id(result)] = []
        return result


def _weight_of_norm(x: Tensor, mean: Any, variance: Any, weight: Tensor | None = None, *_: Any, **__: Any) -> int:
    return id(weight)

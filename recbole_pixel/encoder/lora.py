"""Low-rank adapters (Hu et al.: "LoRA", ICLR 2022), by peft, added to a model in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

SCALE = 2  # alpha / rank


def add_adapters(model: nn.Module, rank: int, within: nn.Module) -> list[nn.Module]:
    """Adds a low-rank adapter to every linear layer of ``within``; nothing else learns from then on.

    At the start an adapter adds zero. The model's own weights keep their values, under names that say ``base_layer``.

    Args:
        model: what the adapters are added to; its other parameters are frozen.
        rank: of the adapters.
        within: the part of ``model`` whose linear layers (attention and MLP) get one each.

    Returns:
        The adapters' own modules: they alone hold parameters that learn.

    Raises:
        ValueError: there is no linear layer.
    """
    from peft import LoraConfig, inject_adapter_in_model

    inside = set(within.modules())
    names = [name for name, module in model.named_modules() if module in inside and _is_linear(module)]
    if not names:
        raise ValueError(f"tune is lora:{rank}, but {type(model).__name__} has no linear layers; use top:K or full")
    is_transposed = any(_is_transposed(module) for module in inside)
    config = LoraConfig(
        r=rank, lora_alpha=SCALE * rank, lora_dropout=0.0, target_modules=names, fan_in_fan_out=is_transposed
    )
    inject_adapter_in_model(config, model)
    return [module for name, module in model.named_modules() if set(name.split(".")[-2:-1]) & {"lora_A", "lora_B"}]


@torch.no_grad()
def check_that_adapters_run(adapters: list[nn.Module], model: nn.Module, run: Callable[[], Any]) -> None:
    """Refuses a model that reads the weights of a layer past its adapter: it would never learn.

    Args:
        adapters: as :func:`add_adapters` returned them.
        model: that they were added to.
        run: computes something by it.

    Raises:
        ValueError: names a layer whose adapter did not run.
    """
    seen: set[nn.Module] = set()
    hooks = [adapter.register_forward_hook(lambda module, *_: seen.add(module)) for adapter in adapters]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    idle = [name.partition(".lora_")[0] for name, module in model.named_modules() if module in set(adapters) - seen]
    if idle:
        raise ValueError(
            f"tune is lora:R, but {type(model).__name__} computes {idle[0]} without calling it, past its adapter; "
            f"use frozen, top:K or full"
        )


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or _is_transposed(module)


def _is_transposed(module: nn.Module) -> bool:
    return type(module).__name__ == "Conv1D"  # GPT-2's linear layers

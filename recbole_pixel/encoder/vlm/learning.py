"""What of a vision-language model learns: ``frozen``, ``top:K``, ``full``, or ``lora:R`` through peft."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

EXPECTED = "expected frozen, top:K (the last K layers of the language model), lora:R or full"


def language_model(model: Any) -> nn.Module:
    """The decoder within a model of transformers; the rest of the model's body is vision and what connects them."""
    body = model.model
    return body.language_model if hasattr(body, "language_model") else body.text_model


def vision_modules(model: Any) -> dict[str, nn.Module]:
    """What makes features of pictures, by name: the vision tower and the connector behind it."""
    decoder = language_model(model)
    return {name: child for name, child in model.model.named_children() if child is not decoder}


def set_learning(model: Any, tune: str, vision: bool = False, alpha: int | None = None) -> list[str]:
    """Freezes ``model`` but for what ``tune`` names, and returns the names of the modules that learn.

    Args:
        model: of transformers; adapters are put into it.
        tune: ``frozen``; ``top:K``, the last K layers of the language model and the norm behind them; ``full``,
            everything; ``lora:R``, adapters of rank R beside the linear layers of attention and MLP.
        vision: ``lora:R`` puts adapters into the vision tower too.
        alpha: scale of the adapters' output times R; twice R by default.

    Raises:
        ValueError: ``tune`` is none of these, or names more layers than there are.
    """
    kind, _, number = str(tune).strip().partition(":")
    if kind == "full" and not number:
        model.requires_grad_(True)
        return [name for name, child in model.named_children() if any(True for _ in child.parameters())]
    model.requires_grad_(False)
    if kind == "frozen" and not number:
        return []
    if kind not in ("top", "lora") or not re.fullmatch(r"[1-9]\d*", number):
        raise ValueError(f"vlm_tune is {tune!r}; {EXPECTED}")
    if kind == "top":
        return _open_layers(model, int(number))
    return _put_adapters(model, int(number), vision, alpha)


def _open_layers(model: Any, n_layers: int) -> list[str]:
    decoder: Any = language_model(model)
    if n_layers > len(decoder.layers):
        raise ValueError(f"vlm_tune is top:{n_layers}, but the language model has {len(decoder.layers)} layers")
    chosen = [*decoder.layers[-n_layers:], decoder.norm]
    for module in chosen:
        module.requires_grad_(True)
    names = {module: name for name, module in model.named_modules()}
    return [names[module] for module in chosen]


def _put_adapters(model: Any, rank: int, vision: bool, alpha: int | None) -> list[str]:
    from peft import LoraConfig, inject_adapter_in_model

    targets = adapted_layers(model, vision)
    config = LoraConfig(r=rank, lora_alpha=alpha or 2 * rank, lora_dropout=0.0, target_modules=targets)
    inject_adapter_in_model(config, model)
    return targets


def adapted_layers(model: Any, vision: bool) -> list[str]:
    """Names of the linear layers that adapters are put beside: of attention and MLP, of the decoder's layers.

    Args:
        model: of transformers.
        vision: those of the vision tower's layers too, not of the connector.
    """
    decoder: Any = language_model(model)
    towers = [decoder.layers, *(_layers_of(child) for child in vision_modules(model).values() if vision)]
    chosen = {part for tower in towers for part in tower.modules() if isinstance(part, nn.Linear)}
    return [name for name, part in model.named_modules() if part in chosen]


def _layers_of(module: nn.Module) -> nn.ModuleList:
    """The longest chain of layers within ``module``; an empty one where it has none."""
    chains = [part for part in module.modules() if isinstance(part, nn.ModuleList)]
    return max(chains, key=len, default=nn.ModuleList())

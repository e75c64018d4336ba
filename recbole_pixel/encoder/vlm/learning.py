"""What of a vision-language model learns: ``frozen``, ``top:K``, ``full``, or ``lora:R`` through peft."""

from __future__ import annotations

from typing import Any

from torch import nn

from recbole_pixel.encoder.lora import add_adapters
from recbole_pixel.encoder.tuning import Tuning


def language_model(model: Any) -> Any:
    """The decoder within a model of transformers; the rest of the model's body is vision and what connects them."""
    body = model.model
    return body.language_model if hasattr(body, "language_model") else body.text_model


def vision_modules(model: Any) -> dict[str, nn.Module]:
    """What makes features of pictures, by name: the vision tower and the connector behind it."""
    decoder = language_model(model)
    return {name: child for name, child in model.model.named_children() if child is not decoder}


def set_learning(model: Any, tuning: Tuning, vision: bool = False) -> list[nn.Module]:
    """Freezes ``model`` but for what ``tuning`` names, and returns the modules that learn.

    Args:
        model: of transformers; adapters are put into it.
        tuning: ``frozen``; ``top:K``, the last K layers of the language model and the norm behind them; ``full``,
            everything; ``lora:R``, adapters of rank R beside the linear layers of its attention and MLP.
        vision: ``lora:R`` puts adapters into the layers of the vision tower too.

    Raises:
        ValueError: ``top:K`` names more layers than there are.
    """
    if tuning.kind == "full":
        model.requires_grad_(True)
        return [child for child in model.children() if next(child.parameters(), None) is not None]
    model.requires_grad_(False)
    if tuning.kind == "frozen":
        return []
    learning = _last_layers(model, tuning) if tuning.kind == "top" else _adapters(model, tuning.rank, vision)
    for module in learning:
        module.requires_grad_(True)
    return learning


def _last_layers(model: Any, tuning: Tuning) -> list[nn.Module]:
    decoder = language_model(model)
    return [*decoder.layers[tuning.cut(len(decoder.layers)) :], decoder.norm]


def _adapters(model: Any, rank: int, vision: bool) -> list[nn.Module]:
    towers = vision_modules(model).values() if vision else ()
    within = nn.ModuleList([language_model(model).layers, *(_layers_of(tower) for tower in towers)])
    adapters = add_adapters(model, rank, within)
    # peft gives them the type of the weights beside them; steps as small as an adapter's are lost in bf16
    return [adapter.float() for adapter in adapters]


def _layers_of(module: nn.Module) -> nn.ModuleList:
    """The longest chain of layers within ``module``; an empty one where it has none."""
    chains = [part for part in module.modules() if isinstance(part, nn.ModuleList)]
    return max(chains, key=len, default=nn.ModuleList())


def keep_less(model: Any) -> None:
    """Makes the backward of ``model`` compute a layer's activations anew, instead of keeping them."""
    newer = getattr(model, "activation_checkpointing_enable", None)  # transformers 5.23; the older name warns there
    (newer or model.gradient_checkpointing_enable)({"use_reentrant": False})

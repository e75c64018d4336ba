"""Low-rank adapters (Hu et al.: "LoRA", ICLR 2022), by peft, added to a model in place."""

from __future__ import annotations

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
    return [module for name, module in model.named_modules() if name.rpartition(".")[2] in ("lora_A", "lora_B")]


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or _is_transposed(module)


def _is_transposed(module: nn.Module) -> bool:
    return type(module).__name__ == "Conv1D"  # GPT-2's linear layers

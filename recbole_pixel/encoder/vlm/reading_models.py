"""The model that reads prompts: one of words and pictures, or one of words alone, as its configuration says."""

from __future__ import annotations

from typing import Any

from recbole_pixel.encoder.vlm.loading import load_model, opened


def load_reading_model(
    name: str,
    weights: str = "auto",
    tune: str = "lora:16",
    *,
    quantise: str | None = None,
    image_size: int | None = None,
    attention: str | None = None,
    dtype: str = "float32",
    tune_vision: bool = False,
    gradient_checkpointing: bool = False,
) -> Any:
    """A ``VisionLanguageBackbone``, or a ``TextBackbone`` where ``name`` has no eyes; see the former for arguments."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from recbole_pixel.encoder.vlm.backbone import VisionLanguageBackbone
    from recbole_pixel.encoder.vlm.text_backbone import TextBackbone

    config = opened(AutoConfig.from_pretrained, name)
    if hasattr(config, "vision_config"):
        return VisionLanguageBackbone.load(
            name, weights, tune, quantise, image_size, attention, dtype, tune_vision, gradient_checkpointing
        )
    tokenizer = opened(AutoTokenizer.from_pretrained, name)
    model = load_model(
        name, weights, quantise=quantise, attention=attention, dtype=dtype, auto_class=AutoModelForCausalLM
    )
    return TextBackbone(model, tokenizer, tune=tune, name=name, gradient_checkpointing=gradient_checkpointing)

"""The vision-language model that a configuration asks for."""

from __future__ import annotations

from typing import Any

import torch


def load_backbone(config: Any) -> Any:
    """The backbone that ``vlm`` and its companions name; random numbers in it depend on ``seed`` alone.

    Raises:
        ValueError: ``modalities`` has pictures, and ``vlm`` reads text alone.
    """
    from recbole_pixel.encoder.vlm.reading_models import load_reading_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config["seed"])  # ranks, and later runs, must agree on a base that is random
        backbone = load_reading_model(
            config["vlm"],
            config["vlm_weights"],
            config["vlm_tune"],
            quantise=config["vlm_quantise"],
            image_size=config["vlm_image_size"],
            attention=config["vlm_attention"],
            dtype=config["vlm_dtype"],
            tune_vision=config["vlm_tune_vision"],
            gradient_checkpointing=config["vlm_checkpointing"],
        )
    if "image" in config["modalities"] and not backbone.n_image_tokens:
        raise ValueError(f"vlm is {config['vlm']}, which reads text alone: set modalities to [text], or take another")
    return backbone

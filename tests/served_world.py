"""A small world with titles, covers and colours, and checkpoints of models on it that were shaken, not trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tiny_texts import save_text_model, word_world

from recbole_pixel.checkpoint import plain_config, write_checkpoint
from recbole_pixel.item_tower import ItemTower
from recbole_pixel.store import ArrayStoreWriter

NAME, N_ITEMS = "word", 22  # and r_new and b_new

CASES: dict[str, dict[str, Any]] = {
    "PixelSASRec:image": {"tune": "top:1"},
    "PixelSASRec:id": {},
    "PixelSASRec:text": {},
    "PixelSASRec:image_text": {"tune": "frozen", "text_tune": "top:1"},
    "PixelSASRec:features": {},
    "PixelBERT4Rec:image": {},
    "PixelDSSM:features": {"mlp_hidden_size": [16]},
    "PixelMF:image": {},
    "PixelMF:id": {},
    "PixelLightGCN:features": {},
    "VBPR:features": {},
    "VisRank:features": {"standardise_features": False},
}
"""Settings by MODEL:TOWER: rankings by products with and without biases, by likeness, of histories and of ids."""

SMALL: dict[str, Any] = {
    **dict.fromkeys(("hidden_dropout_prob", "attn_dropout_prob", "dropout_prob"), 0.0),
    **dict.fromkeys(("embedding_size", "hidden_size", "inner_size"), 16),
    "encoder": "test_resnet",
    "n_layers": 1,
    "n_heads": 1,
    "text_weights": "random",
    "encoder_chunk": 7,
}


def served_world(folder: Path) -> dict[str, Any]:
    """Makes the world; returns settings that lead to it."""
    word_world(folder, NAME, n_users=16, n_items=N_ITEMS, length=5)
    pictures = sorted((folder / f"{NAME}-pictures").glob("*.png"))
    colours = np.stack([np.asarray(Image.open(picture)).mean((0, 1)) for picture in pictures]) / 255
    with ArrayStoreWriter(folder / "colours.array", [p.stem for p in pictures], (3,), np.dtype("f4"), {}) as writer:
        writer.write(0, colours.astype(np.float32))
    text_encoder = save_text_model(folder / "text")
    return {"data_path": str(folder), "features": str(folder / "colours.array"), "text_encoder": str(text_encoder)}


def save_untrained(path: Path, config: Any, model: Any) -> Path:
    """Writes ``model`` as a run would: its features fitted, and what is behind its encoder moved away from zero."""
    torch.manual_seed(5)
    tower = getattr(model, "item_tower", None)
    if isinstance(tower, ItemTower):
        tower.fit_standardising()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and ".backbone." not in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    state = {"config": plain_config(config), "state_dict": model.state_dict(), "other_parameter": None}
    write_checkpoint(state, path)
    return path

"""Settings that make every sequential model tiny, and worlds to train them on."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from recbole.data.interaction import Interaction
from torch.nn import functional as F
from worlds import colour_world

from recbole_pixel.registry import MODELS
from recbole_pixel.store import ArrayStoreWriter

SEQUENTIAL = [name for name, folder in MODELS.items() if folder == "sequential_recommender"]

TINY: dict[str, Any] = {
    **dict.fromkeys(("hidden_dropout_prob", "attn_dropout_prob", "dropout_prob", "sess_dropout", "item_dropout"), 0.0),
    "dropout_probs": [0.0, 0.0],
    "embedding_size": 16,
    "hidden_size": 16,
    "inner_size": 16,
    "n_layers": 1,
    "n_heads": 1,
    "block_num": 1,
    "dilations": [1, 2],
    "k_interests": 3,
    "encoder": "test_resnet",
    "reg_weight": 0.0,
}


def colour_features(folder: Path, name: str) -> Path:
    """A store of the mean colour of each picture of :func:`colour_world`, shape (3,), from 0 to 1."""
    pictures = sorted((folder / f"{name}-pictures").glob("*.png"))
    colours = np.stack([np.asarray(Image.open(picture)).mean((0, 1)) for picture in pictures]) / 255
    path = folder / "colours.array"
    with ArrayStoreWriter(path, [picture.stem for picture in pictures], (3,), np.dtype(np.float32), {}) as writer:
        writer.write(0, colours.astype(np.float32))
    return path


def pictured_world(folder: Path) -> dict[str, Any]:
    """Settings of the colour world (64 items and the padding) in ``folder``, its colours stored as features."""
    name = colour_world(folder, n_items=62)
    return {"data_path": str(folder), "features": str(colour_features(folder, name))}


def away_from_start(model: Any) -> Any:
    """The model with every parameter moved: near the start, states are near zero and tell nothing."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def stock_config(config: Any, **own: Any) -> Any:
    """``config`` for RecBole's own class: it knows no BCE."""
    theirs = copy.copy(config)
    loss_type = "CE" if config["loss_type"] == "CE" else "BPR"
    theirs.final_config_dict = {**config.final_config_dict, "loss_type": loss_type, **own}
    return theirs


def unrolled(batch: Any, width: int) -> Interaction:
    """A batch of sequence rows as RecBole's rows, one per target, with the same negatives and catalogue."""
    rows: dict[str, list[Any]] = {
        "user_id": [],
        "item_id_list": [],
        "item_length": [],
        "item_id": [],
        "neg_item_id": [],
    }
    for row, length in enumerate(batch["item_length"].tolist()):
        for place in range(length):
            history = batch["item_id_list"][row, : place + 1]
            rows["user_id"].append(int(batch["user_id"][row]))
            rows["item_id_list"].append(F.pad(history, (0, width - len(history))))
            rows["item_length"].append(place + 1)
            rows["item_id"].append(int(batch["item_id"][row, place]))
            rows["neg_item_id"].append(int(batch["neg_item_id"][row, place]) if "neg_item_id" in batch else 1)
    columns = {field: torch.tensor(values) for field, values in rows.items() if field != "item_id_list"}
    return Interaction({"item_id_list": torch.stack(rows["item_id_list"]), **columns})

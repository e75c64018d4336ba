"""The colour world with stores of features, for the models that read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from worlds import colour_world

from recbole_pixel.store import ArrayStoreWriter, ImageStore, decode_image

KINDS = ("vectors", "components", "codes")
CASES: dict[str, dict[str, Any]] = {
    "VBPR": {"features": "vectors"},
    "ACF": {"features": "components"},
    "CuratorNet": {"features": "vectors"},
    "DVBPR": {},
    "VisRank": {"features": "vectors"},
    "VisualSASRec-features": {"features": "vectors"},
    "VisualSASRec-features_id": {"features": "vectors", "visual_input": "features_id"},
    "VisualSASRec-semantic_id": {"features": "codes", "visual_input": "semantic_id"},
}
SMALL = {
    "embedding_size": 8,
    "attention_size": 6,
    "hidden_size": 8,
    "inner_size": 8,
    "cnn": "cnn_f_512",
    "image_size": 39,
    "precision": "float32",
}


def write_store(path: Path, tokens: list[str], arrays: np.ndarray, **provenance: Any) -> str:
    """Writes ``arrays`` (N, ...) as a store and returns its path as a setting."""
    with ArrayStoreWriter(path, tokens, arrays.shape[1:], arrays.dtype, provenance) as writer:
        writer.write(0, arrays)
    return str(path)


def visual_world(folder: Path) -> dict[str, str]:
    """Builds the colour world; stores of 4 by 4 thumbnails as vectors and as components, of codes of their colour."""
    name = colour_world(folder, n_items=62)  # 65 items with the padding, 63 users: never mistaken for each other
    images = ImageStore(folder / name / "images.lmdb")
    tokens = images.tokens()
    pictures = np.stack([decode_image(images.read(token), 32) for token in tokens])
    thumbnails = (pictures.reshape(-1, 4, 8, 4, 8, 3).mean(axis=(2, 4)) / 255).astype(np.float32).reshape(-1, 16, 3)
    is_red = thumbnails[..., 0].mean(1) > thumbnails[..., 2].mean(1)
    codes = np.stack([is_red, np.arange(len(tokens)) % 5], axis=1).astype(np.int32)
    arrays = {"vectors": thumbnails.reshape(len(tokens), -1), "components": thumbnails, "codes": codes}
    return {kind: write_store(folder / f"{kind}.array", tokens, arrays[kind]) for kind in KINDS}


@torch.no_grad()
def shaken(model: Any, deviation: float = 0.1) -> Any:
    """``model`` with all parameters moved at random, away from a start at which much is zero."""
    generator = torch.Generator().manual_seed(5)
    for parameter in model.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator) * deviation)
    return model


@torch.no_grad()
def user_scores(model: Any, dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of the world's users and their scores of all items after everything they consumed, (B, N)."""
    tokens = dataset.field2id_token["user_id"]
    users = np.array([user for user in range(1, dataset.user_num) if not tokens[user].startswith("only")])
    histories = [dataset.histories.items[dataset.histories.users == user][-10:] for user in users]
    rows = torch.zeros(len(users), 10, dtype=torch.long)
    for row, history in zip(rows, histories, strict=True):
        row[: len(history)] = torch.from_numpy(history)
    fields = {"user_id": torch.from_numpy(users), "item_id_list": rows, "item_length": (rows > 0).sum(1)}
    return tokens[users], model.full_sort_predict(Interaction(fields)).view(len(users), -1).numpy()


def share_of_taste(model: Any, dataset: Any) -> float:
    """How many users rank the unseen cover of their colour above the other one."""
    names, scores = user_scores(model.eval(), dataset)
    items = dataset.field2token_id["item_id"]
    prefers_red = scores[:, items["r_new"]] > scores[:, items["b_new"]]
    return float((prefers_red == np.array([int(name[1:]) % 2 == 0 for name in names])).mean())


def numbers(tensor: Any) -> np.ndarray:
    return tensor.detach().double().numpy()


def close(ours: Any, theirs: Any, tolerance: float = 1e-4) -> bool:
    ours = numbers(ours) if isinstance(ours, torch.Tensor) else ours
    return bool(np.abs(ours - np.asarray(theirs)).max() <= tolerance)

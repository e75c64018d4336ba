"""PixRec on tiny random models, built on the world of pairs, and steps of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction


def batch_of(histories: list[list[int]], targets: list[int]) -> Interaction:
    """A batch of RecBole's rows; histories are item ids in the order of time."""
    width = max(map(len, histories))
    rows = [history + [0] * (width - len(history)) for history in histories]
    return Interaction(
        {
            "item_id_list": torch.tensor(rows),
            "item_length": torch.tensor([len(history) for history in histories]),
            "item_id": torch.tensor(targets),
        }
    )


def train_steps(model: Any, loader: Any, n_steps: int, rate: float) -> list[float]:
    """Trains on batches of ``loader``, an epoch behind the other; returns the losses."""
    optimizer = torch.optim.AdamW([part for part in model.parameters() if part.requires_grad], lr=rate)
    model.train()
    losses: list[float] = []
    while len(losses) < n_steps:
        for batch in loader:
            optimizer.zero_grad()
            loss = model.calculate_loss(batch)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if len(losses) == n_steps:
                break
    return losses


def pair_gaps(model: Any, dataset: Any, test: Any) -> Iterator[float]:
    """By how much each user's target is scored above the item of the same title and the other colour."""
    tokens, ids = dataset.field2id_token["item_id"], dataset.field2token_id["item_id"]
    model.eval()
    for interaction, _, _, targets in test:
        for scores, target in zip(model.full_sort_predict(interaction), targets.tolist(), strict=True):
            token = tokens[target]
            other = ids[{"r": "b", "b": "r"}[token[0]] + token[1:]]
            yield float(scores[target] - scores[other])


def gradients(model: Any, loss: torch.Tensor) -> Mapping[str, np.ndarray]:
    """The gradient of every parameter that learns, by name."""
    model.zero_grad()
    loss.backward()
    learning = {name: part for name, part in model.named_parameters() if part.requires_grad}
    assert all(part.grad is not None for part in learning.values()), "every parameter has a gradient"
    return {name: part.grad.double().numpy().copy() for name, part in learning.items()}

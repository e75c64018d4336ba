"""What tests let ranks do: functions that are found by name in another process."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import nn

from recbole_pixel.distributed import (
    copy_state_from_first,
    first_rank_first,
    from_first,
    gather_on_host,
    gather_shares,
    rank,
    share,
    sum_with_gradient,
    world_size,
)
from recbole_pixel.parallel import share_batch_statistics


def shares_with_gradient(n: int) -> tuple[Any, ...]:
    """Rows of this rank's share of 0 .. n - 1, gathered, weighted by rank + 1 and summed: all rows, own gradient."""
    own = torch.arange(n, dtype=torch.float32)[share(n), None].repeat(1, 2).requires_grad_()
    rows = gather_shares(own, n)
    (rows * (rank() + 1)).sum().backward()
    return rows.tolist(), own.grad.tolist()


def sum_and_gradient() -> tuple[float, float]:
    own = torch.tensor(rank() + 2.0, requires_grad=True)
    total = sum_with_gradient(own)
    (total * (10.0 if rank() else 1.0)).backward()
    return total.item(), own.grad.item()


def uneven_rows() -> list[float]:
    """Rows of all ranks, of which the first has none."""
    return gather_on_host(torch.arange(3.0 * rank())).tolist()


def first_says() -> tuple[Any, list[float]]:
    layer = nn.Linear(2, 1)
    nn.init.constant_(layer.weight, rank() + 5.0)
    copy_state_from_first(layer)
    return from_first(f"rank {rank()} of {world_size()}"), layer.weight.flatten().tolist()


def in_turn(folder: Path) -> list[str]:
    """What stands in a file when this rank's turn comes; the first takes its time."""
    path = folder / "turns"
    with first_rank_first():
        found = path.read_text().split() if path.exists() else []
        time.sleep(0.2 * (rank() == 0))
        path.write_text(" ".join([*found, str(rank())]))
    return found


def batch_norm(values: np.ndarray, parts: list[slice]) -> dict[str, np.ndarray]:
    """Batch norm of this rank's part of ``values``, with gradients of a loss that is a sum over all ranks."""
    from recbole_pixel.distributed import sum_over_ranks

    module = nn.BatchNorm2d(values.shape[1])
    nn.init.normal_(module.weight, generator=torch.Generator().manual_seed(0))
    if world_size() > 1:
        share_batch_statistics(module)
    x = torch.from_numpy(values[parts[rank()]]).requires_grad_()
    y = module(x)
    (y.pow(3)).sum().backward()
    of_all = {"weight": sum_over_ranks(module.weight.grad), "bias": sum_over_ranks(module.bias.grad)}
    kept = {"running_mean": module.running_mean, "running_var": module.running_var}
    tensors = {"y": y.detach(), "x": x.grad, **of_all, **kept, "n": module.num_batches_tracked}
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def train(folder: Path, model: str, dataset: str, settings: dict[str, Any]) -> dict[str, Any]:
    """A whole run in ``folder``: what it returned, and what was done on the way.

    Returns:
        ``result``; ``losses`` of the steps; ``state`` of the model; ids of the items encoded in each pass (``encoded``)
        and of the users scored in each batch (``scored``).
    """
    from recbole_pixel.item_tower import ItemTower
    from recbole_pixel.quick_start import run
    from recbole_pixel.trainer import PixelTrainer

    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    seen: dict[str, Any] = {"losses": [], "encoded": [], "scored": []}
    step, score, encode = PixelTrainer._train_step, PixelTrainer._full_sort_batch_eval, ItemTower.encode_items

    def train_step(self: Any, *args: Any) -> Any:
        loss = step(self, *args)
        seen["losses"].append(loss.item())
        seen["trainer"] = self
        return loss

    def score_batch(self: Any, batch: Any) -> Any:
        seen["scored"].append(batch[0]["user_id"].tolist())
        return score(self, batch)

    def encode_items(self: Any, ids: Any, arrays: Any) -> Any:
        seen["encoded"].append((self.training, ids.tolist()))
        return encode(self, ids, arrays)

    with (
        patch.object(PixelTrainer, "_train_step", train_step),
        patch.object(PixelTrainer, "_full_sort_batch_eval", score_batch),
        patch.object(ItemTower, "encode_items", encode_items),
    ):
        seen["result"] = run(model, dataset, settings={**settings, "checkpoint_dir": str(folder / "saved")})
    trainer = seen.pop("trainer")
    return {**seen, "state": {name: tensor.numpy() for name, tensor in trainer.model.state_dict().items()}}


def refusal(folder: Path, model: str, settings: dict[str, Any]) -> str:
    """The beginning of what a run says when it refuses to start."""
    from recbole_pixel.config_files import SettingError
    from recbole_pixel.quick_start import run

    os.chdir(folder)
    try:
        run(model, "w", settings={key: settings[key] for key in ("data_path", "state", "seed")})
    except SettingError as error:
        return str(error).partition(";")[0]
    return "it ran"

"""The state of everything that draws at random in a process, as plain values and tensors."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of Python's, numpy's and torch's generators, and of the one on ``device`` where that is no CPU."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    state: dict[str, Any] = {
        "python": [version, torch.tensor(words), gauss],
        "numpy": [
            str(name),
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            int(position),
            int(has_gauss),
            cached,
        ],
        "torch": torch.get_rng_state(),
    }
    if device.type != "cpu":
        state[device.type] = _module(device).get_rng_state()
    return state


def set_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Lets everything draw on from ``state`` of :func:`random_state`; of another kind of device, that one's is left."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if device.type != "cpu" and device.type in state:
        _module(device).set_rng_state(state[device.type])


def _module(device: torch.device) -> Any:
    """``torch.cuda`` and its like."""
    return getattr(torch, device.type)

"""Where the arrays that an encoder reads are kept while it trains: chosen by their size."""

from __future__ import annotations

from logging import getLogger

import numpy as np
import torch

from recbole_pixel.data.stored_inputs import DeviceInputs, StoredInputs
from recbole_pixel.store import ArrayStore
from recbole_pixel.store.free_memory import fits_in_memory, free_memory

TIERS = ("device", "memory", "file")  # the fastest first
GIB = 2**30


def choose_tier(asked: str, n_bytes: int, device: torch.device) -> str:
    """The fastest tier that has room: one of :data:`TIERS`.

    ``auto`` takes no more than half of what is free, in the accelerator's memory or the machine's: the other half is
    for the model, its activations and everybody else. On a CPU the device's memory is the machine's.

    Args:
        asked: one of them, or ``auto``.
        n_bytes: size of the arrays.
        device: where the model trains.

    Raises:
        ValueError: ``asked`` is none of these.
        MemoryError: ``device`` is asked for, and the arrays are larger than what is free there.
    """
    if asked not in ("auto", *TIERS):
        raise ValueError(f"pixel_tier is {asked!r}; expected auto, {', '.join(TIERS)}")
    on_device = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
    if asked == "device":
        free = free_memory() if on_device is None else on_device
        if n_bytes > free:
            raise MemoryError(
                f"pixel_tier is device, but {n_bytes / GIB:.1f} GiB of arrays do not fit into the {free / GIB:.1f} GiB "
                f"that are free on {device}; use pixel_tier: auto, a smaller image_size, or trunk_cache_type: bf16"
            )
    if asked != "auto":
        return asked
    if on_device is not None and 2 * n_bytes <= on_device:
        return "device"
    return "memory" if fits_in_memory(n_bytes) else "file"


def inputs_in_tier(
    store: ArrayStore,
    records: np.ndarray,
    asked: str,
    device: torch.device,
    *,
    from_trunk: bool,
    channels_last: bool = False,
    is_bf16: bool = False,
) -> StoredInputs:
    """The arrays of items in the tier that ``asked`` names or their size allows; all tiers give the same arrays.

    Args:
        store: where they lie on disk.
        records: see :class:`StoredInputs`, as what follows.
        asked: see :func:`choose_tier`.
        device: where the model trains.
        from_trunk: likewise.
        channels_last: likewise.
        is_bf16: likewise.
    """
    n_bytes = len(np.unique(records[1:])) * store.record_bytes
    tier = choose_tier(asked, n_bytes, device)
    if (tier != "file") != store.is_mapped:
        store = ArrayStore(store.path, mapped=tier != "file")
    inputs = StoredInputs(store, records, from_trunk=from_trunk, channels_last=channels_last, is_bf16=is_bf16)
    getLogger().info(f"{store.path.name}: {n_bytes / GIB:.2f} GiB of arrays, pixel_tier: {tier}")
    if tier == "memory" and fits_in_memory(len(store) * store.record_bytes):  # else its pages come as they are read
        store.preload()
    return DeviceInputs(inputs, indexed(device)) if tier == "device" else inputs


def indexed(device: torch.device) -> torch.device:
    """``device`` with the number that "cuda" alone stands for now."""
    is_current = device.type == "cuda" and device.index is None
    return torch.device("cuda", torch.cuda.current_device()) if is_current else device

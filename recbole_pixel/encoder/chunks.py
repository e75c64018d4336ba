"""Encoding a step's pictures in chunks, so that training holds the activations of one chunk at a time.

The forward keeps none; the backward computes each chunk's anew, right before it is differentiated. The gradients are
those of all at once: no picture of a network without batch statistics knows of the others. It costs one more forward of
what learns.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from recbole_pixel.distributed import ranks_here
from recbole_pixel.store.free_memory import free_memory

SHARE = 0.5  # of the free memory that activations may fill; the rest is for gradients in flight and for scores


def run_in_chunks(function: Callable[[Tensor], Tensor], arrays: Tensor, chunk: int | None, learns: bool) -> Tensor:
    """What ``function`` makes of ``arrays`` (U, ...), at most ``chunk`` of them at a time: shape (U, ...).

    Args:
        function: works on each item alone; drawn again in the backward, its random numbers are the same.
        arrays: inputs of the items.
        chunk: None for all at once.
        learns: whether a backward will come: each chunk is then computed again in it.
    """
    if chunk is None or len(arrays) <= chunk:
        return function(arrays)
    pieces = arrays.tensor_split(-(-len(arrays) // chunk))
    if not (learns and torch.is_grad_enabled()):
        return torch.cat([function(piece) for piece in pieces])
    return torch.cat([checkpoint(function, piece, use_reentrant=False) for piece in pieces])


def sees_the_batch(module: nn.Module) -> bool:
    """Whether an item's output depends on the others': batch normalisation that trains."""
    return any(isinstance(part, _BatchNorm) and part.training for part in module.modules())


def bytes_kept(function: Callable[[Tensor], Tensor], module: nn.Module, arrays: Tensor) -> float:
    """Bytes that autograd keeps for the backward of one more item.

    Args:
        function: runs ``module``, whose parameters do not count.
        module: what learns.
        arrays: inputs of items, at least one, (U, ...).
    """
    sizes = []
    with torch.random.fork_rng(devices=[arrays.device] if arrays.is_cuda else []):
        for n_items in (1, 3):  # what does not grow with the items cancels out
            kept: dict[int, int] = {parameter.data_ptr(): 0 for parameter in module.parameters()}

            def note(tensor: Tensor, kept: dict[int, int] = kept) -> Tensor:
                storage = tensor.untyped_storage()
                kept.setdefault(storage.data_ptr(), storage.nbytes())
                return tensor

            hooks = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)
            with hooks, torch.enable_grad(), torch.compiler.set_stance("force_eager"):
                output = function(torch.cat([arrays[:1]] * n_items))
            sizes.append(sum(kept.values()))
            del output
    return (sizes[1] - sizes[0]) / 2


def fitting_chunk(n_bytes: float, module: nn.Module, device: torch.device) -> int:
    """How many items' activations fit beside the weights, their gradients and an optimiser's two moments, at least 1.

    Args:
        n_bytes: of one item, see :func:`bytes_kept`.
        module: what learns.
        device: where it computes.
    """
    learning = sum(parameter.nbytes for parameter in module.parameters() if parameter.requires_grad)
    free = free_bytes(device) - 3 * learning
    return max(1, int(SHARE * free / max(n_bytes, 1.0)))


def free_bytes(device: torch.device) -> int:
    """Bytes that a computation on ``device`` may still take: of the machine's memory, this rank's part."""
    if device.type != "cuda":
        return free_memory() // ranks_here()
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)

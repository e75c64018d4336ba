"""Several processes that train one model: which of them this is, and what they tell one another.

A process is a *rank*. All of it is a no-op in a process that was started alone: its world has one rank, what it gathers
is its own, and it waits for nobody.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

STEP_TIMEOUT = timedelta(minutes=30)  # for what ranks do in step; a rank that died is noticed by what started it
PREPARING_TIMEOUT = timedelta(days=2)  # for the ranks that wait while one of them prepares data

_host: dist.ProcessGroup | None = None
"""A group of all ranks for what lies in host memory, and for long waits."""


def rank() -> int:
    """The number of this process among all that train together, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this is the process that writes files and prints."""
    return rank() == 0


def is_launched(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether ``torchrun``, or our command, started this process as one of several."""
    return "RANK" in environment and int(environment.get("WORLD_SIZE", "1")) > 1


def ranks_here(environment: Mapping[str, str] = os.environ) -> int:
    """How many of the processes that train together share this machine's cores and memory."""
    return int(environment.get("LOCAL_WORLD_SIZE", "1")) if is_launched(environment) else 1


def is_launched_first(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process was started alone, or as the first rank: also before ranks have met, and after."""
    return not is_launched(environment) or environment["RANK"] == "0"


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Joins the ranks that the environment names (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT); leaves them at the end.

    Args:
        device: where this rank computes: accelerators talk by nccl, CPUs by gloo.
    """
    if not is_launched() or dist.is_initialized():
        yield
        return
    global _host
    if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // ranks_here()))
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=STEP_TIMEOUT)
    host: Any = dist.new_group(backend="gloo", timeout=PREPARING_TIMEOUT)
    _host = host
    yield  # after an error the group stays: ending it would wait for ranks that do not come
    _host = None
    dist.destroy_process_group()


def own_gpu(asked: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """What RecBole is to see of accelerators, so that each rank sees its own only; None for as asked.

    Args:
        asked: the setting ``gpu_id``: accelerators of this machine by number, one for each rank on it; None where
            nobody set it: those that are visible are dealt out.
        environment: names the visible ones, and this rank's number on its machine.

    Raises:
        ValueError: there are fewer accelerators than ranks.
    """
    if not is_launched(environment) or asked == "" or not torch.cuda.device_count():
        return None
    local_rank = int(environment.get("LOCAL_RANK", "0"))
    listed = asked if asked is not None else environment.get("CUDA_VISIBLE_DEVICES")
    every = [str(number) for number in range(torch.cuda.device_count())] if listed is None else listed.split(",")
    if local_rank >= len(every):
        raise ValueError(
            f"process {local_rank} of this machine has no accelerator: there are {len(every)} ({','.join(every)}); "
            f"start as many processes, name more in gpu_id, or train on the CPU with gpu_id=''"
        )
    return every[local_rank].strip()


def share(n: int, of_rank: int | None = None) -> slice:
    """The contiguous part of ``n`` things that is a rank's, this one's by default; parts differ in size by one at most.

    Things that are too few for every rank to have one are not shared: all are every rank's.
    """
    if not is_shared(n):
        return slice(0, n)
    number, ranks = rank() if of_rank is None else of_rank, world_size()
    return slice(n * number // ranks, n * (number + 1) // ranks)


def is_shared(n: int) -> bool:
    """Whether ``n`` things are divided among ranks: each then has at least one."""
    return n >= world_size() > 1


def gather_shares(rows: Tensor, n: int) -> Tensor:
    """The rows of ``n`` things, of which each rank has made its :func:`share`, with gradient.

    What a rank does with another's rows comes back to that rank as gradient: the sum over ranks.

    Args:
        rows: this rank's, shape (its share, ...), of the same type and width everywhere.
        n: how many there are.

    Returns:
        Shape (n, ...), in order.
    """
    if not is_shared(n):
        return rows
    gathered: Tensor = _GatherShares.apply(rows, n)
    return gathered


class _GatherShares(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, n: int) -> Tensor:
        ctx.n = n
        parts = (share(n, of_rank) for of_rank in range(world_size()))
        return _gathered(rows, [part.stop - part.start for part in parts], None)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        total = sum_over_ranks(gradient.float().contiguous())  # in float32: sums of bf16 would round
        return total[share(ctx.n)].to(gradient.dtype), None


def _gathered(rows: Tensor, sizes: Sequence[int], group: dist.ProcessGroup | None) -> Tensor:
    """Rows of all ranks, without gradient; padded to one size on the way."""
    padded = rows.new_zeros(max(sizes), *rows.shape[1:])
    padded[: len(rows)] = rows.detach()
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded, group=group)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def gather_on_host(rows: Tensor) -> Tensor:
    """The rows of all ranks behind one another, without gradient, in host memory; each rank may have any number."""
    if world_size() == 1:
        return rows.cpu()
    sizes = torch.zeros(world_size(), dtype=torch.int64)
    sizes[rank()] = len(rows)
    dist.all_reduce(sizes, group=_host)
    return _gathered(rows.cpu(), sizes.tolist(), _host)


def sum_over_ranks(numbers: Tensor) -> Tensor:
    """The sum of each rank's ``numbers``, without gradient."""
    if world_size() == 1:
        return numbers
    total = numbers.detach().clone()
    dist.all_reduce(total)
    return total


def sum_with_gradient(numbers: Tensor) -> Tensor:
    """The sum of each rank's ``numbers``; gradients of all ranks come back to each."""
    if world_size() == 1:
        return numbers
    total: Tensor = _Sum.apply(numbers)
    return total


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, numbers: Tensor) -> Tensor:
        return sum_over_ranks(numbers)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return sum_over_ranks(gradient)


def from_first(value: Any) -> Any:
    """The first rank's ``value``, plain Python, on all ranks."""
    if world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0, group=_host)
    return values[0]


def gather_objects(value: Any) -> list[Any]:
    """Each rank's ``value``, plain Python and tensors in host memory, on all ranks."""
    values = [value] * world_size()
    if world_size() > 1:
        dist.all_gather_object(values, value, group=_host)
    return values


class Agreement:
    """What some rank asks for, by its number; all ranks are told at the same call.

    What was asked at one call is told at the next: in between, the answers travel, and nobody waits for them.
    """

    def __init__(self) -> None:
        self._asked: tuple[Any, Tensor] | None = None

    def __call__(self, asks: int) -> int:
        """The largest number that a rank asked for at the call before; all of them call it equally often.

        Args:
            asks: this rank's; 0 for nothing.
        """
        if world_size() == 1:
            return asks
        told = self.settled()
        numbers = torch.tensor(asks)
        self._asked = dist.all_reduce(numbers, dist.ReduceOp.MAX, group=_host, async_op=True), numbers
        return told

    def settled(self) -> int:
        """What was asked for at the last call; nothing travels any more."""
        if self._asked is None:
            return 0
        (work, numbers), self._asked = self._asked, None
        work.wait()
        return int(numbers)


def copy_state_from_first(module: nn.Module) -> None:
    """Makes parameters and buffers of ``module`` those of the first rank."""
    if world_size() > 1:
        for tensor in module.state_dict().values():
            dist.broadcast(tensor, src=0)


def wait_for_all() -> None:
    """Returns when every rank has come here, however long one of them prepares data."""
    if world_size() > 1:
        dist.barrier(group=_host)


@contextmanager
def first_rank_first() -> Iterator[None]:
    """Runs its body on the first rank, then on the first of every other machine, then on the rest.

    What the body builds and keeps in files is then built once a machine, or once where machines share the files.
    """
    turn = 0 if is_first() else 1 if os.environ.get("LOCAL_RANK", "0") == "0" else 2
    for _ in range(turn):
        wait_for_all()
    yield
    for _ in range(turn, 2):
        wait_for_all()

"""Two ranks that stay: processes that join one group and run what tests send them."""

from __future__ import annotations

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from typing import Any


class RankPool:
    """Runs a function in every rank at once, and returns what each returned.

    Args:
        n_ranks: how many.
    """

    def __init__(self, n_ranks: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        context = multiprocessing.get_context("spawn")
        self.pipes, self.processes = [], []
        for rank in range(n_ranks):
            ours, theirs = context.Pipe()
            names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": n_ranks, "LOCAL_WORLD_SIZE": n_ranks}
            environment = {key: str(value) for key, value in names.items()}
            environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
            process = context.Process(target=_serve, args=(theirs, environment), daemon=True)
            process.start()
            self.pipes.append(ours)
            self.processes.append(process)

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """``function``, found by its module and name, of the same arguments in every rank."""
        for pipe in self.pipes:
            pipe.send((function, arguments))
        answers = [pipe.recv() if pipe.poll(120) else (False, "no answer") for pipe in self.pipes]
        wrong = [answer for is_good, answer in answers if not is_good]
        assert not wrong, "\n".join(wrong)
        return [answer for _, answer in answers]

    def close(self) -> None:
        """Ends the ranks."""
        for pipe in self.pipes:
            pipe.send(None)
        for process in self.processes:
            process.join(20)
            process.kill()


def _serve(pipe: Any, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    import torch

    from recbole_pixel.distributed import process_group

    torch.set_num_threads(1)
    with process_group(torch.device("cpu")):
        while (work := pipe.recv()) is not None:
            function, arguments = work
            try:
                pipe.send((True, function(*arguments)))
            except BaseException:
                pipe.send((False, traceback.format_exc()))

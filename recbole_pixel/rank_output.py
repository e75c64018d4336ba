"""What a run writes besides its results, where several ranks run it: the first rank's log is the run's."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import recbole.trainer.trainer as recbole_trainer
from recbole.utils import init_logger

from recbole_pixel._replacing import swapped
from recbole_pixel.distributed import is_first, rank

ONLY_FIRST = {"show_progress": False, "log_wandb": False, "save_dataset": False, "save_dataloaders": False}
"""Settings under which RecBole prints and writes nothing of its own."""


def start_log(config: Any) -> None:
    """Starts RecBole's log of the run; other ranks than the first only pass warnings on, and write no files.

    Args:
        config: RecBole's; other ranks' is changed so that they keep quiet.
    """
    if is_first():
        init_logger(config)
        return
    for key, value in ONLY_FIRST.items():
        config[key] = value
    logging.basicConfig(level=logging.WARNING, format=f"rank {rank()}: %(levelname)s  %(message)s")


class _Silence:
    """Stands for a tensorboard writer, and writes nothing."""

    def add_scalar(self, *args: Any, **kwargs: Any) -> None:
        """Nothing."""

    def add_hparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing."""


@contextmanager
def one_tensorboard() -> Iterator[None]:
    """Within it, trainers of other ranks than the first are made without a tensorboard, whose files would collide."""
    if is_first():
        yield
        return
    with swapped(recbole_trainer, "get_tensorboard", lambda logger: _Silence()):
        yield

"""What tests of runs that are gone on with let ranks do."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from killed_runs import Killed, dying, ends

from recbole_pixel.distributed import is_first, rank
from recbole_pixel.interrupts import InterruptedRunError
from recbole_pixel.quick_start import run
from recbole_pixel.trainer import PixelTrainer


def finished(folder: Path, settings: dict[str, Any], resume: bool = False) -> dict[str, Any]:
    """What a run comes to, as the first rank finds it in its files; of others, the result."""
    os.chdir(folder)
    result = run("PixelSASRec", "w", settings=settings, resume=resume)
    return ends(result) if is_first() else {"result": {"test": result["test"], "curves": result["curves"]}}


def killed(folder: Path, settings: dict[str, Any], at: int) -> str:
    """A run whose ranks die within their ``at``-th step."""
    os.chdir(folder)
    with pytest.MonkeyPatch.context() as patch:
        dying(patch, PixelTrainer, "_train_step", at)
        try:
            run("PixelSASRec", "w", settings=settings)
        except Killed:
            return "killed"
    return "done"


def asked_to_stop(folder: Path, settings: dict[str, Any], at: int) -> tuple[int, int]:
    """A run whose second rank is asked to stop within its ``at``-th step: exit code, and steps of the optimiser."""
    os.chdir(folder)
    steps: list[int] = []
    step, update = PixelTrainer._train_step, PixelTrainer._update

    def heard(trainer: PixelTrainer, *args: Any) -> Any:
        if rank() == 1 and trainer.n_updates == at - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(trainer, *args)

    def counted(trainer: PixelTrainer) -> None:
        update(trainer)
        steps.append(trainer.n_updates)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PixelTrainer, "_train_step", heard)
        patch.setattr(PixelTrainer, "_update", counted)
        try:
            run("PixelSASRec", "w", settings=settings)
        except InterruptedRunError as stopped:
            return stopped.code, steps[-1]
    return 0, steps[-1]

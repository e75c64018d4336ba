"""Kernels that give the same sums every time, on devices whose usual ones do not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def deterministic_kernels(are_asked_for: bool) -> Iterator[None]:
    """Within it, torch takes deterministic kernels wherever it has them, and warns where it has none.

    On CUDA, gradients of what is gathered (states at some positions, ``index_select``) and of fused attention are added
    up by threads in any order: the last bits differ from run to run. RecBole's ``reproducibility`` fixes the seed and
    cuDNN's choice of kernels, not these. The setting of the process is restored at the end.

    Args:
        are_asked_for: whether anything is to change; before CUDA is first used, as cuBLAS reads its setting then.
    """
    if not are_asked_for:
        yield
        return
    os.environ.setdefault(WORKSPACE, ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fills = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # nothing reads it
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.utils.deterministic.fill_uninitialized_memory = fills  # type: ignore[attr-defined]

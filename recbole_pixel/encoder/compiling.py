"""``torch.compile`` for the part of an encoder that learns; the number of pictures differs from step to step."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
COMPILERS = ("c++", "g++", "clang++", "cl")


class Compiled:
    """Compiles a function of pictures when it is first called, once for any number of them but one.

    A copy of it compiles anew: the function is that of another module.

    Args:
        mode: True for ``default``, or one of torch's: ``reduce-overhead``, ``max-autotune`` and others.

    Raises:
        ValueError: unknown ``mode``.
        FileNotFoundError: there is no C++ compiler, which every backend of torch.compile needs.
    """

    def __init__(self, mode: str | bool) -> None:
        self.mode = "default" if mode is True else str(mode)
        if self.mode not in MODES:
            raise ValueError(f"compile is {mode!r}; expected False, True or one of {', '.join(MODES)}")
        if not has_compiler():
            raise FileNotFoundError(
                "compile is on, and there is no C++ compiler; looked for $CXX, "
                f"{', '.join(COMPILERS)}: install one (apt install g++), or set compile: False"
            )
        self._compiled: Callable[[Tensor], Tensor] | None = None

    def __call__(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """``function(x)``, for ``x`` of shape (U, ...); always the same function."""
        if self._compiled is None:
            self._compiled = torch.compile(function, mode=self.mode)
        torch._dynamo.maybe_mark_dynamic(x, 0)
        return self._compiled(x)

    def __deepcopy__(self, memo: dict[int, Any]) -> Compiled:
        return Compiled(self.mode)


def has_compiler() -> bool:
    """Whether a C++ compiler is in sight."""
    return any(name and shutil.which(name) for name in (os.environ.get("CXX"), *COMPILERS))

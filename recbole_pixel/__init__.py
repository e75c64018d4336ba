"""Recommendation from pictures, as a plugin for RecBole 1.2.1.

Importing this package teaches RecBole our models, datasets, trainer and YAML by name, and mends RecBole where today's
numpy, pandas, scipy and torch broke it. It imports neither torch nor RecBole: both happen when RecBole is imported, so
that the stores, the converters and the command line start fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_pixel._recbole_hook import run_after_import

if TYPE_CHECKING:
    import torch

    from recbole_pixel.serve.recommender import Recommender

__version__ = "0.1.0"


def _join_recbole() -> None:
    """Mends the imported RecBole, then registers our names in it."""
    from recbole_pixel._compat import apply
    from recbole_pixel.registry import register

    apply()
    register()


def load(
    checkpoint: str | Path,
    *,
    data_path: str | Path | None = None,
    device: str | torch.device | None = None,
    history: str = "all",
    settings: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> Recommender:
    """The recommender in a checkpoint, to ask for recommendations, neighbours, new items and vectors.

    See :func:`recbole_pixel.serve.loading.load`, which says what the arguments mean and what is raised.
    """
    from recbole_pixel.serve import loading

    return loading.load(checkpoint, data_path=data_path, device=device, history=history, settings=settings, trust=trust)


run_after_import("recbole", _join_recbole)

"""Recommendation from pictures, as a plugin for RecBole 1.2.1.

Importing this package teaches RecBole our models, datasets, trainer and YAML by name, and mends RecBole where today's
numpy, pandas, scipy and torch broke it. It imports neither torch nor RecBole: both happen when RecBole is imported, so
that the stores, the converters and the command line start fast.
"""

from __future__ import annotations

from recbole_pixel._recbole_hook import run_after_import

__version__ = "0.1.0"


def _join_recbole() -> None:
    """Mends the imported RecBole, then registers our names in it."""
    from recbole_pixel._compat import apply
    from recbole_pixel.registry import register

    apply()
    register()


run_after_import("recbole", _join_recbole)

"""Hits of cold items beside those of a random order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any


def times_chance(among: Sequence[Mapping[str, Any]]) -> str:
    """HR@10 over that of a random order, mean over runs; empty where no run has any cases.

    Args:
        among: of each run ``hit@10`` and ``chance``, which are None without cases.
    """
    ratios = [one["hit@10"] / one["chance"] for one in among if one["chance"]]
    return f"{mean(ratios):.2f}" if ratios else ""

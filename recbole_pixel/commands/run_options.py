"""Options that the commands of many runs share: ``ablate``, ``cold``, ``compare``, ``tune``."""

from __future__ import annotations

import argparse


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--dataset`` and ``--config_files``."""
    parser.add_argument("--dataset", "-d", required=True, help="name of a folder under data_path (dataset_atomic/)")
    parser.add_argument("--config_files", default="", help="YAML files or presets, separated by spaces")


def add_jobs_option(parser: argparse.ArgumentParser) -> None:
    """Adds ``--jobs``."""
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, a share of the cores each (default: 1)")


def check_jobs(namespace: argparse.Namespace) -> None:
    """Refuses to make no runs at a time.

    Raises:
        ValueError: ``--jobs`` is below 1.
    """
    if namespace.jobs < 1:
        raise ValueError(f"--jobs is {namespace.jobs}; expected at least 1")


def row_labels(namespace: argparse.Namespace) -> list[str] | None:
    """The labels that ``--rows`` names; None for all."""
    return None if namespace.rows is None else [label.strip() for label in namespace.rows.split(";")]

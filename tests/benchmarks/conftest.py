"""Lets the tests import the scripts in benchmarks/, which import one another by name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))


@pytest.fixture(scope="session", autouse=True)
def _one_import_for_all_children() -> None:
    """A test session has one server for the children of all scripts."""
    from killed_children import imported_before

    imported_before("recbole_pixel.store", "recbole_pixel.quick_start")

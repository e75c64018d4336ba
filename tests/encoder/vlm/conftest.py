"""A tiny model of each family, saved once for all tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_vlms import save_tiny


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family's tiny model, by the family's name."""
    root = tmp_path_factory.mktemp("vlms")

    def folder(family: str) -> Path:
        return root / family if (root / family).exists() else save_tiny(family, root / family)

    return folder

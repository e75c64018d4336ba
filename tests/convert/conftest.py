"""Tiny raw data, and the command that converts them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from recbole_pixel.cli import main

Convert = Callable[..., int]


@pytest.fixture
def convert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Convert:
    """Runs `recbole-pixel convert ...` in the test's folder, where relative paths start; returns the exit code."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: main(["convert", *(str(word) for word in words), *(["--quiet"] if "--name" in words else [])])


@pytest.fixture
def covers(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of small pictures, one for each token, each of its own colour."""

    def make(*tokens: str, folder: str = "covers") -> Path:
        root = tmp_path / folder
        root.mkdir(exist_ok=True)
        for position, token in enumerate(tokens):
            Image.new("RGB", (30, 20), (40 * position, 90, 200)).save(root / f"{token}.jpg")
        return root

    return make


@pytest.fixture
def amazon_samples() -> Path:
    """Genuine Amazon files of each edition."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "data"
    if not (folder / "amazon-2014").is_dir():
        pytest.skip("genuine Amazon files (../shared/data/amazon-2014, -2018, -2023) are not on this machine")
    return folder

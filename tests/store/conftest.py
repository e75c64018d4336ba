"""Fixtures of the store tests: pictures and stores small enough to make anew for every test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from store_world import DictSource, plain, shade

from recbole_pixel.store import ImageStore, build_image_store


@pytest.fixture
def pictures() -> dict[str, bytes]:
    """Twenty items, `i0` to `i19`, each of its own colour."""
    return {f"i{i}": plain(shade(i)) for i in range(20)}


@pytest.fixture
def folder(tmp_path: Path, pictures: dict[str, bytes]) -> Path:
    """The same as files, some in a folder below."""
    root = tmp_path / "covers"
    (root / "more").mkdir(parents=True)
    for i, (token, data) in enumerate(pictures.items()):
        (root / ("more" if i % 2 else ".") / f"{token}.png").write_bytes(data)
    return root


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., ImageStore]:
    """Builds a store of a dict of pictures under `tmp_path`."""

    def _build(pictures: dict[str, bytes], name: str = "images.lmdb", **options: object) -> ImageStore:
        options = {"size": 16, "workers": 1, "progress": False, **options}
        build_image_store(DictSource(pictures), tmp_path / name, **options)
        return ImageStore(tmp_path / name)

    return _build

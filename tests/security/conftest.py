"""What the tests of attacks share."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile import Trap


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Trap]:
    """Files that tell when they were run; at the end of the test it is made sure that they would have."""
    folder = tmp_path / "trap"
    folder.mkdir()
    found = Trap(folder)
    yield found
    assert not found.has_sprung, "a pickle was run"
    pickle.loads(found.in_memory())
    assert found.has_sprung, "the payload does nothing: this test proved nothing"

"""Two ranks for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rank_pool import RankPool


@pytest.fixture(scope="session")
def ranks() -> Iterator[RankPool]:
    """Runs functions in two processes of one group."""
    pool = RankPool(2)
    yield pool
    pool.close()

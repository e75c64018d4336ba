"""Skipping what needs vision-language models, where the oldest transformers that texts can do with is installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

VLMS_ABSENT = "vision-language models need transformers 5.20 or newer, found 4."
"""How the package's error begins then."""


@contextmanager
def skipping_without_vlms() -> Iterator[None]:
    """Inside, that error skips the test."""
    try:
        yield
    except ImportError as error:
        if VLMS_ABSENT in str(error):
            pytest.skip(str(error))
        raise

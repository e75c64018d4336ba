"""What benchmarks measure with: turns, medians, memory of its own process."""

from __future__ import annotations

import json

import numpy as np
import pytest
from side_by_side import PAGE, alternate, beyond, claim, in_fresh_process, seconds_of_rounds


def filled(mib: int) -> int:
    """Fills so much memory."""
    return int(np.ones(mib * 2**20, np.uint8).sum())


def failing() -> None:
    """Raises."""
    raise OSError("no room")


def test_programs_take_turns_and_the_first_round_does_not_count():
    log: list[str] = []
    own = iter([9.0, 1.0, 5.0, 2.0])
    found = alternate({"a": lambda: log.append("a"), "b": lambda: log.append("b") or next(own)}, rounds=3)
    assert log == ["a", "b"] * 4
    assert found["b"] == 2.0
    assert 0 < found["a"] < 1
    assert seconds_of_rounds({"c": lambda: 3.0}, rounds=2, warm_up=0) == {"c": [3.0, 3.0]}
    with pytest.raises(ValueError, match="rounds is 0"):
        alternate({}, rounds=0)


def test_a_claim_is_a_line_of_json(capsys):
    claim("a", 3.14159, 3, seconds=0.123456)
    claim("b", 2.0, None)
    claim("c", None, 5.0, why="no device")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        {"name": "a", "ratio": 3.142, "want": 3, "met": True, "seconds": 0.1235},
        {"name": "b", "ratio": 2.0, "want": None},
        {"name": "c", "ratio": None, "want": 5.0, "why": "no device"},
    ]


def test_work_that_fits_in_free_memory_needs_a_page():
    assert beyond(lambda: None) == pytest.approx(PAGE, abs=10)
    assert beyond(lambda: None) >= PAGE > 0, "as claims divide by it"
    assert 150 < beyond(lambda: filled(200)) < 250


def test_peaks_of_processes_do_not_mix():
    (large, of_large), (small, of_small) = in_fresh_process(filled, 200), in_fresh_process(filled, 1)
    assert (large, small) == (200 * 2**20, 2**20)
    assert 180 < of_large - of_small < 220
    with pytest.raises(RuntimeError, match="failing ended with code 1"):
        in_fresh_process(failing)

"""The same seed gives the same numbers, bit by bit: whatever threads, caches, tiers and processes are between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
import same_numbers
import torch
from same_numbers import CASES, NAME, converted, numbers_of
from tiny_texts import save_text_model, word_world

from recbole_pixel.data import ring

IN_OTHER_PROCESSES = ["cached trunk, candidates drawn", "pairs of ids, shared negatives"]
FIRST: dict[str, dict[str, Any]] = {}
"""Numbers of the first run of each case in this process."""


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("same")
    word_world(folder, NAME, n_users=24, n_items=30, length=8)
    save_text_model(folder / "bert")
    return folder


@pytest.fixture
def first(world, monkeypatch) -> Any:
    """A function that gives the numbers of a case's first run."""
    monkeypatch.chdir(world)

    def made(case: str) -> dict[str, Any]:
        if case not in FIRST:
            FIRST[case] = numbers_of(world, case)
        return FIRST[case]

    return made


@pytest.mark.parametrize("case", CASES)
def test_the_same_seed_gives_the_same_numbers(world, first, case):
    found = first(case)
    torch.rand(7), torch.randn(3)  # what was drawn before is nobody's business
    assert numbers_of(world, case) == found
    assert all(loss > 0 for _, loss in found["curves"]["loss"])


def test_another_seed_gives_others(world, first):
    case = "pairs of ids, shared negatives"
    assert numbers_of(world, case, seed=2)["weights"] != first(case)["weights"]


@pytest.mark.parametrize(("tier", "n_slots"), [("file", 2), ("device", 6)])
def test_how_far_batches_are_fetched_ahead_and_from_where_changes_nothing(world, first, monkeypatch, tier, n_slots):
    case = "cached trunk, candidates drawn"
    expected = first(case)
    monkeypatch.setattr(ring.Ring.__init__, "__defaults__", ("cpu", n_slots))
    assert numbers_of(world, case, pixel_tier=tier) == expected


def test_a_trunk_that_is_computed_now_or_was_kept_gives_the_same(world, first):
    case = "cached trunk, candidates drawn"
    expected = first(case)
    kept = list((world / NAME / "cache").glob("*trunk*"))
    assert kept, "it was kept"
    rmtree(world / NAME / "cache")
    assert numbers_of(world, case) == expected, "cold"
    assert numbers_of(world, case) == expected, "warm"


def test_another_process_and_other_hashes_give_the_same(world, first):
    expected = {case: first(case) for case in IN_OTHER_PROCESSES}
    expected["converted"] = converted(world / "here")
    line = [sys.executable, same_numbers.__file__, str(world), str(torch.get_num_threads()), *IN_OTHER_PROCESSES]
    environment = {**os.environ, "PYTHONHASHSEED": "4242"}
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, env=environment, cwd=world, timeout=500, check=True)
    assert json.loads(done.stdout) == json.loads(json.dumps(expected))
    assert "t.inter" in expected["converted"]


def test_deterministic_kernels_are_asked_for_within_a_run_and_not_after(world, first, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    case, seen = "pairs of ids, shared negatives", []
    expected = first(case)
    train = torch.optim.Optimizer.zero_grad

    def note(*args: Any, **kwargs: Any) -> None:
        seen.append((torch.are_deterministic_algorithms_enabled(), os.environ.get("CUBLAS_WORKSPACE_CONFIG")))
        train(*args, **kwargs)

    monkeypatch.setattr(torch.optim.Optimizer, "zero_grad", note)
    assert numbers_of(world, case, deterministic=True) == expected, "on a CPU they are what they were"
    assert set(seen) == {(True, ":4096:8")}
    assert not torch.are_deterministic_algorithms_enabled()
    numbers_of(world, case, epochs=1)
    assert seen[-1][0] is False

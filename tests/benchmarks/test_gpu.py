"""What the script for accelerators says of itself, and of a machine that has none."""

from __future__ import annotations

import json
from collections.abc import Callable

import evaluate
import gpu
import loader
import objective_memory
import pytest
import side_by_side
import torch
from side_by_side import alternate


def test_without_a_device_it_says_so_and_fails(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["gpu.py"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 1
    line = json.loads(capsys.readouterr().out)
    assert (line["ratio"], line["why"]) == (None, "there is no CUDA device; nothing was measured")


def test_its_help_names_its_parts(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["gpu.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert not ended.value.code
    assert "[--only evaluation objective loader encoders]" in capsys.readouterr().out


@pytest.fixture
def lines(monkeypatch, capsys) -> Callable[..., dict[str, dict]]:
    """Runs the script's parts at tiny sizes on the CPU, all in this process; its JSON lines, by name."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # as RecBole sets it, who would not set it back
    monkeypatch.setattr(side_by_side, "in_fresh_process", lambda function, *arguments: (function(*arguments), 0.0))
    monkeypatch.setattr(evaluate, "THREADS", torch.get_num_threads())
    monkeypatch.setattr(objective_memory, "SIZE", 32)
    for script in (evaluate, loader, objective_memory):
        monkeypatch.setattr(script, "alternate", lambda programs, rounds, **_: alternate(programs, 1, warm_up=0))

    def run(*parts: str) -> dict[str, dict]:
        monkeypatch.setattr("sys.argv", ["gpu.py", "--try", "--only", *parts])
        gpu.main()
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
        assert {line["device"] for line in found} == {"cpu"}
        return {line["name"]: line for line in found}

    return run


def test_the_evaluation_of_fewer_users_than_a_batch(lines):
    found = lines("evaluation")
    assert list(found) == ["evaluation memory", "evaluation", "evaluation collector"]
    assert found["evaluation"]["same_metrics"]
    assert {name: line["want"] for name, line in found.items()} == dict.fromkeys(found, 2) | {"evaluation memory": 1}
    assert found["evaluation collector"]["users"] == 60


def test_the_memory_of_the_objective(lines):
    found = lines("objective")
    peaks = found["in-batch loss: plain peak over chunked"]
    assert (peaks["targets"], peaks["items_of_step"]) == (400, 408)
    steps = [line for name, line in found.items() if name.startswith("step of PixelSASRec")]
    assert [line["targets"] for line in steps] == [400, 50]
    assert steps[1]["items_ranked"] == 19 * 51 + 1, "whole rows and the padding"


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")
def test_the_loader_against_two_numbers_of_workers(lines):
    found = lines("loader")
    assert [name.removeprefix("loader, ") for name in found] == [
        "same negatives", "same negatives, normalised", "in-batch negatives", "same negatives, file",
        "same negatives, 64 rows", "same negatives, 3 workers",
    ]  # fmt: skip
    assert [line["workers"] for line in found.values()] == [2] * 5 + [3]
    assert found["loader, same negatives"]["want"] == 30
    for line in found.values():
        assert line["ratio"] == pytest.approx(line["users_per_second"] / line["reference_users_per_second"], rel=0.01)


def test_a_part_that_fails_leaves_the_others_alone(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["gpu.py", "--try", "--only", "loader", "evaluation"])
    monkeypatch.setattr(loader, "run", lambda *_: 1 / 0)
    monkeypatch.setattr(evaluate, "run", lambda _: print("{}"))
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    failed, other = capsys.readouterr().out.splitlines()
    assert (ended.value.code, other) == (1, "{}")
    assert json.loads(failed)["why"] == "ZeroDivisionError: division by zero"

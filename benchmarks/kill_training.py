"""Claim: a training run that is killed anywhere, and gone on with, ends with the weights of one that nobody killed.

Two runs are killed by SIGKILL, each in a process of its own: ids with dropout, and pictures whose encoder learns behind
a kept trunk. Half of the kills come before the n-th file is opened, renamed or removed, n drawn at random from all of
them, so that states and models are torn at every stage of being written; half come after a random time. A run is killed
up to five times in a row, and each time goes on with `resume`, or begins anew where nothing was kept yet. Then it runs
to its end, and its result and every tensor of its best and of its last state, the optimiser's too, must be those of an
undisturbed run, bit by bit.

    python benchmarks/kill_training.py [--quick] [--kills 20] [--seed 0]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # inherited by the children: so little work is slower with more

import argparse
import json
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from killed_children import Child, file_events_of, imported_before
from noise_world import World, noise_world
from side_by_side import claim

from recbole_pixel.checkpoint import read_checkpoint
from recbole_pixel.kept_states import states_in
from recbole_pixel.quick_start import run

IN_A_ROW = 5
COST = ("seconds", "seconds_per_epoch", "checkpoint")
TINY: dict[str, Any] = {
    "epochs": 4, "train_batch_size": 8, "checkpoint_steps": 3, "hidden_size": 16, "inner_size": 16, "n_layers": 1,
    "n_heads": 1, "hidden_dropout_prob": 0.3, "metric_decimal_place": 7, "show_progress": False, "state": "ERROR",
    "health": False,
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "ids": {"item_tower": "id", "extra_candidates": 7, "accumulate_steps": 2},
    "pictures": {"encoder": "test_resnet", "encoder_weights": "random", "image_size": 32, "tune": "top:1"},
}


@dataclass
class Outcome:
    """What came of the kills.

    Attributes:
        n_kills: processes that were killed.
        n_before_any_state: those of them that left no state.
        n_runs: runs that were brought to their end after kills.
        n_equal: those of them that ended as the undisturbed one.
        newest: behind which step of the optimiser the newest state lay after each kill that left one.
    """

    n_kills: int = 0
    n_before_any_state: int = 0
    n_runs: int = 0
    n_equal: int = 0
    newest: list[int] = field(default_factory=list)


def settings_of(case: str, world: World, folder: Path) -> dict[str, Any]:
    """Of a run whose files lie in ``folder``."""
    own = {"data_path": str(world.data_path), "checkpoint_dir": str(folder), "result_file": str(folder / "result.json")}
    return {**TINY, **CASES[case], **own}


def has_state(folder: Path) -> bool:
    """Whether there is something to go on from."""
    return bool(_with_states(folder))


def _with_states(folder: Path) -> list[Path]:
    """Folders of runs that something was kept of: one at most, as a run is begun anew only where there is none."""
    return [path for path in folder.glob("*.run") if states_in(path)]


def train(settings: dict[str, Any], dataset: str, resume: bool) -> None:
    """A run in this process."""
    torch.set_num_threads(1)
    run("PixelSASRec", dataset, settings=settings, resume=resume)


def whole_run(settings: dict[str, Any], world: World, resume: bool) -> float:
    """Seconds of a run that nobody kills."""
    began = time.perf_counter()
    Child(train, settings, world.dataset, resume).result()
    return time.perf_counter() - began


def ends(folder: Path) -> dict[str, Any]:
    """What a run left: its result but for its cost, and tensors by place and name."""
    newest = states_in(_with_states(folder)[0])[0]
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    last, best = read_checkpoint(newest), read_checkpoint(newest.parent.with_suffix(".pth"))
    tensors = {("best", name): value for name, value in best["state_dict"].items()}
    tensors |= {("last", name): value for name, value in last["state_dict"].items()}
    moments = last["optimizer"]["state"].items()
    tensors |= {(number, name): value for number, state in moments for name, value in state.items()}
    return {"result": {key: value for key, value in result.items() if key not in COST}, "tensors": tensors}


def are_equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether results and tensors are the same, bit by bit."""
    tensors, others = one["tensors"], other["tensors"]
    is_same = all(torch.equal(value, others[name]) for name, value in tensors.items() if name in others)
    return is_same and tensors.keys() == others.keys() and one["result"] == other["result"]


def was_killed(settings: dict[str, Any], world: World, n_events: int, seconds: float, rng: random.Random) -> bool:
    """Lets a run go on, or begin, and kills it; whether it had not ended by then."""
    resume = has_state(Path(settings["checkpoint_dir"]))
    if rng.random() < 0.5:
        return Child(train, settings, world.dataset, resume, at_event=rng.randint(1, n_events)).was_killed()
    return Child(train, settings, world.dataset, resume).killed_after(rng.uniform(0.0, seconds))


def kill_at_random(case: str, world: World, folder: Path, n_kills: int, seed: int) -> Outcome:
    """Kills runs of a case ``n_kills`` times in all."""
    rng, outcome = random.Random(seed), Outcome()
    usual = settings_of(case, world, folder / "undisturbed")
    whole_run(settings_of(case, world, folder / "first"), world, False)  # makes the caches of the dataset
    n_events, _ = file_events_of(train, settings_of(case, world, folder / "counted"), world.dataset, False)
    seconds = whole_run(usual, world, False)
    expected = ends(folder / "undisturbed")
    while outcome.n_kills < n_kills:
        own = settings_of(case, world, folder / f"killed-{outcome.n_runs}")
        path = Path(own["checkpoint_dir"])
        for _ in range(rng.randint(1, min(IN_A_ROW, n_kills - outcome.n_kills))):
            if was_killed(own, world, n_events, seconds, rng):
                outcome.n_kills += 1
                outcome.n_before_any_state += not has_state(path)
                outcome.newest += [int(states_in(run)[0].stem.split("-")[1]) for run in _with_states(path)]
        whole_run(own, world, has_state(path))
        outcome.n_runs += 1
        outcome.n_equal += are_equal(ends(path), expected)
    return outcome


def main() -> None:
    """Reads the options, kills, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="four kills")
    parser.add_argument("--kills", type=int, default=20, help="of both runs together (default 20)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    imported_before("recbole_pixel.quick_start")
    n_kills = 4 if options.quick else options.kills
    with TemporaryDirectory() as temporary:
        os.chdir(temporary)  # RecBole writes its logs here
        world = noise_world(Path(temporary), n_users=60, n_items=40)
        for number, case in enumerate(CASES):
            began, n_own = time.perf_counter(), n_kills // 2 + n_kills % 2 * (number == 0)
            outcome = kill_at_random(case, world, Path(temporary) / case, n_own, options.seed + number)
            right = outcome.n_equal / outcome.n_runs
            claim(f"kills of training: {case}", right, 1.0, **vars(outcome), seconds=time.perf_counter() - began)


if __name__ == "__main__":
    main()

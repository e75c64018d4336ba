"""Claim: the in-batch loss at 408,374 items, 512 users x 50 targets, D 512, needs less than 1 GiB.

A step's 25,600 targets are ranked against its 26,000 or so distinct items; plainly, that is 2.5 GiB for each of several
copies of the logits. Measured, each peak in a fresh process:

* the loss alone, forward and backward, beyond the states and vectors given to it: plain (what
  ``torch.nn.functional.cross_entropy`` does to the whole logits, corrected and masked) against chunks. The plain peak
  grows with the number of targets; it is taken at a part of them and scaled where memory is short;
* its time, plain against chunks, alternating in one process, at an eighth of the targets;
* a step of PixelSASRec on stored features, forward and backward, beyond model and batch, against the network alone
  (a sum of its states for a loss);
* likewise of its ID twin against all 408,374 items, with 16 users; the gradients of its table count.

On an accelerator, peaks are those of PyTorch's allocator there.

    python benchmarks/objective_memory.py [--quick] [--device cpu] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from side_by_side import MIB, alternate, apart, beyond, claim, machine, on, settings_for, wait_for
from torch import Tensor

import recbole_pixel  # noqa: F401
from recbole_pixel.catalogue import StepCatalogue
from recbole_pixel.collisions import RowCollisions
from recbole_pixel.objective import CatalogueCrossEntropy
from recbole_pixel.pending_scores import PendingScores
from recbole_pixel.score_chunks import SCORES_AT_ONCE

LENGTH, SIZE, N_FEATURES = 50, 512, 64
N_ITEMS = 408_374
ALL_AT_ONCE = 2**62
WANT_MIB = 1024
COPIES = 6  # of the logits that the plain loss may have at its peak, to see whether they fit


def free_mib(device: str) -> float:
    """Memory of ``device`` that may be taken now."""
    if device != "cpu":
        return torch.cuda.mem_get_info(device)[0] / MIB
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("MemAvailable:"))


def loss_of(n_users: int, n_items: int, n_targets: int, limit: int, device: str = "cpu") -> Callable[[], Tensor]:
    """Forward and backward of the loss of ``n_targets`` among the targets of ``n_users`` rows of distinct items."""
    torch.manual_seed(0)
    rows = torch.randperm(n_items - 1)[: n_users * (LENGTH + 1)].view(n_users, LENGTH + 1).to(device) + 1
    ids = torch.cat([torch.zeros(1, dtype=torch.long, device=device), rows.flatten().sort()[0]])
    is_candidate = ids > 0
    states = torch.randn(n_targets, SIZE).mul_(0.1).to(device).requires_grad_()
    vectors = torch.randn(len(ids), SIZE).mul_(0.1).to(device).requires_grad_()
    targets = rows[:, 1:].flatten()[:n_targets]
    row_of_target = torch.arange(n_users, device=device).repeat_interleave(LENGTH)[:n_targets]
    loss = CatalogueCrossEntropy(limit=limit)
    loss.catalogue = StepCatalogue(ids, vectors, -torch.rand(len(ids)).to(device), is_candidate)

    def step() -> Tensor:
        states.grad = vectors.grad = None
        loss.collisions = RowCollisions.among(ids, rows, row_of_target)
        value = loss(PendingScores(states, vectors), targets)
        value.backward()
        wait_for(device)
        return value.detach()

    return step


def loss_peak(n_users: int, n_items: int, n_targets: int, limit: int, device: str = "cpu") -> tuple[float, float]:
    """Peak of the loss alone, MiB, and its value."""
    step = loss_of(n_users, n_items, n_targets, limit, device)
    found: list[Tensor] = []
    return beyond(lambda: found.append(step()), device), found[0].item()


def write_world(folder: Path, n_items: int) -> None:
    """A dataset in which every item is consumed once in training, by users with one full row each; and features."""
    from recbole_pixel.store import ArrayStoreWriter

    rng = np.random.default_rng(0)
    rows = rng.permutation(n_items - 1)[: (n_items - 1) // (LENGTH + 1) * (LENGTH + 1)].reshape(-1, LENGTH + 1)
    (folder / "large").mkdir(parents=True)
    with open(folder / "large" / "large.inter", "w", encoding="ascii") as file:
        file.write("user_id:token\titem_id:token\ttimestamp:float\n")
        for user, items in enumerate(rows.tolist()):
            held_out = rows[user - 1, :2].tolist()
            file.writelines(f"u{user}\ti{item}\t{time}\n" for time, item in enumerate([*items, *held_out]))
    tokens = [f"i{item}" for item in range(n_items - 1)]
    with ArrayStoreWriter(folder / "features.array", tokens, (N_FEATURES,), np.float32, {}) as writer:
        for first in range(0, len(tokens), 50_000):
            part = tokens[first : first + 50_000]
            writer.write(first, rng.standard_normal((len(part), N_FEATURES), dtype=np.float32))


def model_step(
    folder: str, item_tower: str, n_users: int, limit: int, has_loss: bool, device: str = "cpu"
) -> dict[str, float]:
    """Peak of a step of PixelSASRec beyond model and batch, MiB; without a loss, of the network alone."""
    from recbole.utils import get_model, init_seed

    from recbole_pixel.config import make_config
    from recbole_pixel.quick_start import prepare_data

    settings = {
        "data_path": folder, "features": f"{folder}/features.array", "cache_dir": f"{folder}/cache",
        "checkpoint_dir": f"{folder}/saved", "item_tower": item_tower, "MAX_ITEM_LIST_LENGTH": LENGTH,
        "hidden_size": SIZE, "inner_size": 2 * SIZE, "n_heads": 4, "n_layers": 2, "train_batch_size": n_users,
        "loss_type": "CE", "train_rows": "sequence", "standardise_features": False, "state": "ERROR", "seed": 1,
        **settings_for(device),
    }  # fmt: skip
    config = make_config("PixelSASRec", "large", settings=settings)
    init_seed(1, True)
    _, train, _, _ = prepare_data(config)
    model: Any = get_model("PixelSASRec")(config, train._dataset).to(device).train()
    model.loss_fct.limit = limit
    train.inputs = getattr(model.item_tower, "inputs", None)
    batch = next(iter(train)).to(device)
    if not has_loss:
        model._state_loss = lambda states, targets, *_: states.sum() + model.item_tower.candidates()[:1].sum()
    peak = beyond(lambda: model.calculate_loss(batch).backward(), device)
    ids = batch["catalogue_id"] if "catalogue_id" in batch else range(train._dataset.item_num)
    return {"peak": peak, "targets": int((batch["item_id"] > 0).sum()), "items": len(ids)}


def compare_peaks(n_users: int, n_items: int, limit: int, device: str = "cpu") -> None:
    """The loss alone, plain against chunks."""
    n_targets = n_users * LENGTH
    logits_mib = n_targets * (n_users * (LENGTH + 1)) * 4 / MIB
    share = 1
    while COPIES * logits_mib / share > free_mib(device) / 2:
        share *= 2
    chunked, _ = apart(device, loss_peak, n_users, n_items, n_targets, limit, device)
    plain, value = apart(device, loss_peak, n_users, n_items, n_targets // share, ALL_AT_ONCE, device)
    _, same = apart(device, loss_peak, n_users, n_items, n_targets // share, limit, device)
    if abs(value - same) > 1e-4 * value:
        raise AssertionError(f"the plain loss is {value}, in chunks {same}")
    sizes = {"targets": n_targets, "items": n_items, "items_of_step": n_users * (LENGTH + 1)}
    found = {"plain_mib": plain * share, "plain_measured_at_one_of": share, "chunked_mib": chunked, **sizes}
    found |= machine(device)
    claim(f"in-batch loss: 1 GiB over its peak{on(device)}", WANT_MIB / chunked, 1.0, **found)
    claim(f"in-batch loss: plain peak over chunked{on(device)}", plain * share / chunked, None, **found)


def compare_times(n_users: int, n_items: int, limit: int, rounds: int, device: str = "cpu") -> None:
    """The loss alone, plain against chunks, at an eighth of the targets: three chunks."""
    n_targets = n_users * LENGTH // 8
    programs = {
        "plain": loss_of(n_users, n_items, n_targets, ALL_AT_ONCE, device),
        "chunked": loss_of(n_users, n_items, n_targets, limit, device),
    }
    seconds = alternate(programs, rounds, warm_up=int(device != "cpu"))
    ratio = seconds["plain"] / seconds["chunked"]
    claim(f"in-batch loss: plain time over chunked{on(device)}", ratio, None, **seconds, **machine(device))


def compare_steps(n_users: int, n_items: int, limit: int, folder: Path, device: str = "cpu") -> None:
    """Whole steps: on features against the step's items, and of the ID twin against all items."""
    write_world(folder, n_items)
    asked = {"features": n_users, "id": max(1, n_users // 32)}
    for item_tower, n_rows in asked.items():
        step = apart(device, model_step, str(folder), item_tower, n_rows, limit, True, device)
        network = apart(device, model_step, str(folder), item_tower, n_rows, limit, False, device)
        sizes = {"targets": step["targets"], "items_ranked": step["items"]}
        logits = step["targets"] * step["items"] * 4 / MIB
        found = {"network_mib": network["peak"], "step_mib": step["peak"], "one_copy_of_logits_mib": logits, **sizes}
        name = f"step of PixelSASRec, item_tower {item_tower}: peak of the network alone over the step's{on(device)}"
        claim(name, network["peak"] / step["peak"], None, **found, **machine(device))


def run(folder: Path, n_users: int, n_items: int, limit: int, rounds: int, device: str = "cpu") -> None:
    """Measures on ``device`` and prints the claims; the dataset is made in ``folder``."""
    compare_peaks(n_users, n_items, limit, device)
    compare_times(n_users, n_items, limit, rounds, device)
    compare_steps(n_users, n_items, limit, folder, device)


def main() -> None:
    """Runs all of it, or with ``--quick`` a small version."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="a twentieth of the items, an eighth of the users, chunks of 2 MiB"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of the comparison of times")
    parser.add_argument("--folder", type=Path, help="where the dataset is made, about 200 MB; temporary by default")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    options = parser.parse_args()
    n_users, n_items, limit = (
        (64, N_ITEMS // 20, SCORES_AT_ONCE // 64) if options.quick else (512, N_ITEMS, SCORES_AT_ONCE)
    )
    print(json.dumps(machine()), flush=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        run(Path(folder), n_users, n_items, limit, options.rounds, options.device)


if __name__ == "__main__":
    main()

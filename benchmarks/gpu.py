"""Claims, on a CUDA device: evaluation, objective, loader; an epoch of ours is the encoder's own arithmetic; 24 GiB.

`evaluation`, `objective` and `loader` are evaluate.py, objective_memory.py and loader.py on the device, the last one
against 10 workers, too. What they want is what they want of a CPU.

`encoders` are ViT-B/32, Swin-T and RN50 of CLIP, random weights, 224 pixels, with `tune: top:2` (activations kept) and
`full`:

* ``achieved``: pictures per second, and the share of the card's bf16 peak that these are: three times the arithmetic
  of the forward of what learns (the backward is twice it), over the time of a whole epoch, with loader, recommender and
  optimiser. 0.4 is aimed at for `full`.
* ``against the reference``: users per second against PixelRec's way with 10 workers (see reference_pipeline.py), each
  with a negative for each position; ``in-batch negatives`` likewise with ours in-batch; ``fed`` gives the reference a
  batch that lies on the device already, without its loader. 5 is aimed at. The reference is float32 with TF32, as the
  PyTorch of its requirements computes.
* ``24 GiB``: how often the most memory that a step of 64 rows reserved goes into 24 GiB.

Without a CUDA device it says so and ends with code 1. A part that fails says why, the others go on, and the code is 1.
`--try` runs tiny sizes wherever it is, to see that the script works.

    python benchmarks/gpu.py [--only evaluation objective loader encoders] [--encoders ViT-B/32 Swin-T RN50]
                             [--tunes top:2 full] [--rows 64] [--rounds 3] [--compile] [--try]
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import evaluate
import loader
import numpy as np
import objective_memory
import torch
from noise_world import MAX_LENGTH, noise_picture
from reference_pipeline import (
    PickleReader,
    ReferenceDataset,
    ReferenceModel,
    ReferenceStep,
    reference_chunks,
    reference_loader,
    write_pickles,
)
from side_by_side import MIB, alternate, claim, machine, wait_for
from train_step import N_ITEMS, N_STORED, OurStep, stored_world, write_rows

TERA = 1e12
PEAKS = {  # bf16, dense, with float32 sums; NVIDIA's data sheets
    "B200": 2250, "H200": 989, "H100 PCIe": 756, "H100": 989, "A100": 312, "L40S": 362, "L40": 181, "L4": 121,
    "A40": 150, "A10": 125, "RTX 4090": 165, "RTX 3090": 71,
}  # fmt: skip
STEPS = 16  # of an epoch
THEIR_ROWS = 16  # of the reference's batch
THEIR_WORKERS = 10
TRY_EVALUATION = ["--users=60", "--items=300", "--size=16", "--recbole_users=30", "--rounds=1"]
TRY_OBJECTIVE = (8, 1000, 2**12)  # users, items, bytes of scores at once
TRY_LOADER = loader.Sizes(users=18, items=20, theirs=1, ours=1)


def peak_of(card: str) -> float | None:
    """Multiplications and additions per second that a card is said to reach in bf16; None if it is not known."""
    return next((peak * TERA for name, peak in PEAKS.items() if name in card), None)


def epochs_of(step: OurStep) -> Callable[[], float]:
    """A program that trains for an epoch, and returns its seconds."""

    def epoch() -> float:
        step.trainer._train_epoch(step.loader, 0)  # ends with the sum of its losses: the device is done
        return float(step.trainer.epoch_seconds[-1])

    return epoch


class Reference:
    """The reference's step on the device, and its loader.

    Args:
        folder: where its pictures are, or are made.
        histories: item ids of users.
        name: of the encoder.
        tune: how much of it learns.
        device: where it trains.
    """

    def __init__(self, folder: Path, histories: list[list[int]], name: str, tune: str, device: str) -> None:
        from recbole_pixel.encoder import ImageEncoder

        tokens, pickles = stored_world(folder).tokens, folder / "pickles.lmdb"
        if not pickles.exists():
            rng = np.random.default_rng(2)
            write_pickles(pickles, ((token, noise_picture(rng)) for token in tokens), N_STORED)
        encoder = ImageEncoder(name, weights="random", tune=tune).train()
        shown = [tokens[item % N_STORED] for item in range(N_ITEMS + 1)]
        reader = PickleReader(pickles, encoder.image_size)
        dataset = ReferenceDataset(reference_chunks(histories), shown, reader)
        workers = min(THEIR_WORKERS, os.cpu_count() or 1)
        self.loader = reference_loader(dataset, THEIR_ROWS, workers)
        self.n_first = min(2, len(self.loader) - 1)  # batches while workers start
        self.n_batches = min(24, len(self.loader) - self.n_first)
        self.step = ReferenceStep(ReferenceModel(encoder, max_length=MAX_LENGTH).to(device).train())
        self.device = device

    def with_loader(self) -> float:
        """Seconds for a user, batches by the loader's workers; the first ones do not count."""
        batches = iter(self.loader)
        for batch in itertools.islice(batches, self.n_first):
            self.step(batch)
        return self._seconds(itertools.islice(batches, self.n_batches))

    def fed(self) -> float:
        """Seconds for a user, one batch lying on the device again and again."""
        batch = [tensor.to(self.device) for tensor in next(iter(self.loader))]
        self.step(batch)
        return self._seconds([batch] * self.n_batches)

    def _seconds(self, batches: Any) -> float:
        wait_for(self.device)
        began, n_users = time.perf_counter(), 0
        for batch in batches:
            self.step(batch)
            n_users += len(batch[1])
        wait_for(self.device)
        return (time.perf_counter() - began) / n_users


def measure(folder: Path, name: str, tune: str, options: argparse.Namespace, device: str) -> None:
    """Prints the claims of an encoder under a policy."""
    histories = write_rows(folder, options.rows * options.steps)
    own = {"encoder": name, "tune": tune, "precision": "auto", "compile": options.compile, "train_encoder_chunk": None}
    kept = tune != "full"
    steps = {loss: OurStep(folder, options.rows, kept, loss_type=loss, **own) for loss in ("BPR", "CE")}
    reference = Reference(folder, histories, name, tune, device)
    n_users = steps["BPR"].loader.plan.n_rows
    programs = {loss: epochs_of(step) for loss, step in steps.items()}
    seconds = alternate(programs | {"loader": reference.with_loader, "fed": reference.fed}, options.rounds)
    about = {"encoder": name, "tune": tune, "rows": options.rows, "compile": options.compile, **machine(device)}
    achieved(steps["CE"], seconds["CE"], tune, about)
    for title, ours, theirs in (
        ("against the reference", "BPR", "loader"),
        ("against the reference, fed", "BPR", "fed"),
        ("against the reference, in-batch negatives", "CE", "loader"),
        ("against the reference, fed, in-batch negatives", "CE", "fed"),
    ):
        per_user = seconds[ours] / n_users
        rates = {"users_per_second": 1 / per_user, "reference_users_per_second": 1 / seconds[theirs]}
        want = 5.0 if theirs == "loader" and ours == "BPR" else None
        claim(f"gpu: {title}, {name} {tune}", seconds[theirs] / per_user, want, **rates, **about)
    if device != "cpu":
        memory(steps["BPR"], device, about)


def achieved(step: OurStep, seconds: float, tune: str, about: dict[str, Any]) -> None:
    """Prints pictures per second and their share of the card's peak."""
    from recbole_pixel.encoder.cost import encoder_cost

    n_pictures = step.trainer.epoch_encoded[-1]
    cost = encoder_cost(step.config["encoder"], tune)
    reached = 3 * cost.head_flops * n_pictures / seconds
    peak = peak_of(about["accelerator"] or "")
    share = None if peak is None else reached / peak
    facts = {"pictures_per_second": n_pictures / seconds, "tflops": reached / TERA, "share_of_peak": share}
    title = f"gpu: achieved, {about['encoder']} {tune}"
    claim(title, share and share / 0.4, 1.0 if tune == "full" else None, **facts, **about)


def memory(step: OurStep, device: str, about: dict[str, Any]) -> None:
    """Prints how often the memory of an epoch's largest step goes into 24 GiB; pictures on the device left out."""
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    step.trainer._train_epoch(step.loader, 0)
    own = sum(tensor.nbytes for tensor in (*step.model.parameters(), *step.model.buffers()))
    moments = [value for state in step.trainer.optimizer.state.values() for value in state.values()]
    own += sum(value.nbytes for value in moments if isinstance(value, torch.Tensor))
    peak = (torch.cuda.max_memory_allocated(device) - before + own) / MIB
    claim(f"gpu: 24 GiB, {about['encoder']} {about['tune']}", 24 * 1024 / peak, 1.0, mib=peak, **about)


def run_evaluation(folder: Path, options: argparse.Namespace, device: str) -> None:
    """Prints the claims of evaluate.py."""
    sizes = TRY_EVALUATION if options.tries else [f"--rounds={options.rounds}"]
    evaluate.run(evaluate.parsed([*sizes, f"--device={device}"]))


def run_objective(folder: Path, options: argparse.Namespace, device: str) -> None:
    """Prints the claims of objective_memory.py."""
    sizes = (512, objective_memory.N_ITEMS, objective_memory.SCORES_AT_ONCE)
    with TemporaryDirectory(dir=folder) as own:
        objective_memory.run(Path(own), *(TRY_OBJECTIVE if options.tries else sizes), options.rounds, device)


def run_loader(folder: Path, options: argparse.Namespace, device: str) -> None:
    """Prints the claims of loader.py."""
    n_workers = 3 if options.tries else min(THEIR_WORKERS, os.cpu_count() or 1)
    loader.run(folder, TRY_LOADER if options.tries else loader.Sizes(), options.rounds, device, n_workers)


def run_encoders(folder: Path, options: argparse.Namespace, device: str) -> None:
    """Prints the claims of each encoder under each policy."""
    torch.backends.cuda.matmul.allow_tf32 = True
    for name, tune in itertools.product(options.encoders, options.tunes):
        measure(folder, name, tune, options, device)


PARTS = {
    "evaluation": run_evaluation, "objective": run_objective, "loader": run_loader, "encoders": run_encoders,
}  # fmt: skip


def is_done(part: str, folder: Path, options: argparse.Namespace, device: str) -> bool:
    """Runs a part; False if it failed, which is printed: time on a device is dear, and the other parts go on."""
    try:
        PARTS[part](folder, options, device)
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        claim(f"gpu: {part}", None, None, why=f"{type(error).__name__}: {error}", **machine(device))
        return False
    return True


def main() -> None:
    """Reads the options, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--encoders", nargs="+", default=["ViT-B/32", "Swin-T", "RN50"])
    parser.add_argument("--tunes", nargs="+", default=["top:2", "full"])
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--try", dest="tries", action="store_true", help="tiny sizes, on any device")
    parser.add_argument("--folder", type=Path, default=None, help="where to keep the pictures; a temporary one")
    options = parser.parse_args()
    options.steps = STEPS
    if options.tries:
        options.encoders, options.rows, options.rounds, options.steps = ["test_vit"], 4, 1, 8
    elif not torch.cuda.is_available():
        claim("gpu", None, None, why="there is no CUDA device; nothing was measured", **machine())
        raise SystemExit(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with TemporaryDirectory() as temporary:
        done = [is_done(part, options.folder or Path(temporary), options, device) for part in options.only]
    if not all(done):
        raise SystemExit(1)


if __name__ == "__main__":
    main()

"""Claim: our loader delivers users at least 30 times as fast as PixelRec's with 2 worker processes, negatives alike.

Both make batches of the same rows: 10 inputs, a target and a uniform negative behind each, pictures of 224 x 224 from
disk. Theirs (see reference_pipeline.py) is float32 of all 22 slots of a row. Ours is the loader of a training run:
uint8 of the batch's distinct items, prefetched by one thread; it is normalised by the device that trains. So that
nobody has to believe that this costs nothing, ``normalised`` adds it: on this CPU, in the thread that asks for batches.
``in-batch`` ranks against the batch's own items (no sampled negatives: less to load by design), ``file`` reads each
picture from the file instead of memory, ``64 rows`` is ours with its default batch against theirs of 16.

Start-up is timed on neither side: workers have started, pixels are decoded, a few batches pass before each timing.

On an accelerator, both sides' batches are timed until they lie there; ours keeps the pictures there if they fit
(`pixel_tier: auto`), ``memory`` does not, and a line more compares with as many workers as are asked for.

    python benchmarks/loader.py [--quick] [--rounds 3] [--device cpu] [--workers 2] [--folder FOLDER]
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from noise_world import MAX_LENGTH, NAME, World, noise_world
from reference_pipeline import PickleReader, ReferenceDataset, reference_chunks, reference_loader, write_pickles
from side_by_side import alternate, claim, common_options, machine, on, settings_for, wait_for

from recbole_pixel.store import decode_image

WANT = 30.0
ROWS = 16
N_WORKERS = 2
USERS = 1000  # seconds are given for so many


@dataclass(frozen=True)
class Sizes:
    """Of the world, and how many batches are timed.

    Attributes:
        users: of the world.
        items: of the world, each with a picture.
        theirs: batches of the reference, with ``N_WORKERS``; with more, as many for each.
        ours: our batches.
    """

    users: int = 4000
    items: int = 4000
    theirs: int = 8
    ours: int = 200


QUICK = Sizes(800, 400, 4, 30)


def n_passed(n_workers: int) -> int:
    """Batches before a timing: more than wait in any queue."""
    return 2 * n_workers + 1


def reference_program(
    world: World, folder: Path, n_batches: int, n_workers: int = N_WORKERS, device: str = "cpu"
) -> Callable[[], float]:
    """Seconds that the reference's loader, and the way to ``device``, take for ``USERS`` users."""
    path, images = folder / f"pickles-{len(world.tokens)}", world.images
    if not path.exists():
        write_pickles(path, ((t, decode_image(images.read(t), 224)) for t in world.tokens), len(world.tokens))
    ids = {token: number for number, token in enumerate(world.tokens, start=1)}
    chunks = reference_chunks([[ids[token] for token in history] for history in world.histories])
    loader = reference_loader(ReferenceDataset(chunks, ["", *world.tokens], PickleReader(path)), ROWS, n_workers)
    timed, n_first = n_batches * n_workers // N_WORKERS, n_passed(n_workers)
    return lambda: _timed(loader, timed, lambda batch: len([part.to(device) for part in batch][1]), device, n_first)


def our_loader(world: World, folder: Path, device: str = "cpu", **settings: Any) -> tuple[Any, Any]:
    """The training loader of a run with ``settings``, its pixels decoded, and the encoder that they are for."""
    from recbole.utils import get_model, init_seed

    from recbole_pixel.config import make_config
    from recbole_pixel.quick_start import prepare_data

    own = {
        "data_path": str(world.data_path), "checkpoint_dir": str(folder / "saved"), "cache_dir": str(folder / "cache"),
        "encoder": "resnet18", "encoder_weights": "random", "image_size": 224, "tune": "full", "loss_type": "BPR",
        "MAX_ITEM_LIST_LENGTH": MAX_LENGTH, "train_batch_size": ROWS, "standardise_features": False, "state": "ERROR",
        **settings_for(device),
    }  # fmt: skip
    config = make_config("PixelSASRec", NAME, settings={**own, **settings})
    init_seed(0, True)
    _, train, _, _ = prepare_data(config)
    tower = get_model("PixelSASRec")(config, train._dataset).item_tower
    train.inputs = tower.inputs  # as PixelTrainer does before the first epoch
    return train, tower.encoder.to(device)


def our_program(loader: Any, n_batches: int, encoder: Any = None, device: str = "cpu") -> Callable[[], float]:
    """Seconds that our loader takes for ``USERS`` users; with an ``encoder``, to have them normalised for it."""

    def consume(batch: Any) -> int:
        if encoder is not None:
            encoder.normalise(batch["catalogue_input"])
        return len(batch["user_id"])

    return lambda: _timed(loader, n_batches, consume, device, n_passed(N_WORKERS))


def _timed(loader: Any, n_batches: int, consume: Callable[[Any], int], device: str, n_first: int) -> float:
    batches = iter(loader)
    for batch in itertools.islice(batches, min(n_first, len(loader) - 1)):
        consume(batch)
    wait_for(device)
    began = time.perf_counter()
    n_users = sum(consume(batch) for batch in itertools.islice(batches, n_batches))
    wait_for(device)
    seconds = time.perf_counter() - began
    del batches  # ends workers and threads: nobody computes while others are timed
    return seconds / n_users * USERS


def variants(world: World, folder: Path, n_batches: int, device: str) -> dict[str, Callable[[], float]]:
    """Our programs, by what differs from the reference's rows, negatives and memory."""
    own, encoder = our_loader(world, folder, device)
    in_batch, _ = our_loader(world, folder, device, loss_type="CE", extra_candidates=0)
    large, _ = our_loader(world, folder, device, train_batch_size=64)
    n_normalised = n_batches // 10 if device == "cpu" else n_batches
    tiers = ("file",) if device == "cpu" else ("file", "memory")
    return {
        "ours": our_program(own, n_batches, device=device),
        "normalised": our_program(own, max(1, n_normalised), encoder, device),
        "in-batch": our_program(in_batch, n_batches, device=device),
        **{
            tier: our_program(our_loader(world, folder, device, pixel_tier=tier)[0], n_batches, device=device)
            for tier in tiers
        },
        "64 rows": our_program(large, max(1, n_batches // 4), device=device),
    }


def run(folder: Path, sizes: Sizes, rounds: int, device: str = "cpu", n_workers: int = N_WORKERS) -> None:
    """Measures in ``folder`` and prints the claims; against ``n_workers`` too, where these are not two."""
    world = noise_world(folder, sizes.users, sizes.items)
    programs = variants(world, folder, sizes.ours, device)
    references = {
        f"{n} workers": reference_program(world, folder, sizes.theirs, n, device) for n in {N_WORKERS, n_workers}
    }
    seconds = alternate({**references, **programs}, rounds)
    for name in programs:
        _claim(name, seconds[name], seconds[f"{N_WORKERS} workers"], N_WORKERS, rounds, device)
    if n_workers != N_WORKERS:
        _claim("ours", seconds["ours"], seconds[f"{n_workers} workers"], n_workers, rounds, device)


def _claim(name: str, ours: float, theirs: float, n_workers: int, rounds: int, device: str) -> None:
    is_first = name == "ours" and n_workers == N_WORKERS
    title = "loader, in-batch negatives" if name == "in-batch" else "loader, same negatives"
    title += "" if name in ("ours", "in-batch") else f", {name}"
    title += "" if n_workers == N_WORKERS else f", {n_workers} workers"
    rates = {"users_per_second": USERS / ours, "reference_users_per_second": USERS / theirs}
    about = {"workers": n_workers, "rows": ROWS, "rounds": rounds, **machine(device)}
    claim(title + on(device), theirs / ours, WANT if is_first else None, **rates, **about)


def main() -> None:
    """Reads the options, runs, prints."""
    parser = common_options(__doc__, 3)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--workers", type=int, default=N_WORKERS, help="of the reference, in a line of their own")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sizes, rounds = (QUICK, 2) if options.quick else (Sizes(), options.rounds)
    with TemporaryDirectory() as temporary:
        run(options.folder or Path(temporary), sizes, rounds, options.device, options.workers)


if __name__ == "__main__":
    main()

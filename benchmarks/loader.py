"""Claim: our loader delivers users at least 30 times as fast as PixelRec's with 2 worker processes, negatives alike.

Both make batches of the same rows: 10 inputs, a target and a uniform negative behind each, pictures of 224 x 224 from
disk. Theirs (see reference_pipeline.py) is float32 of all 22 slots of a row. Ours is the loader of a training run:
uint8 of the batch's distinct items, prefetched by one thread; it is normalised by the device that trains. So that
nobody has to believe that this costs nothing, ``normalised`` adds it: on this CPU, in the thread that asks for batches.
``in-batch`` ranks against the batch's own items (no sampled negatives: less to load by design), ``file`` reads each
picture from the file instead of memory, ``64 rows`` is ours with its default batch against theirs of 16.

Start-up is timed on neither side: workers have started, pixels are decoded, a few batches pass before each timing.

    python benchmarks/loader.py [--quick] [--rounds 3] [--folder FOLDER]
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from noise_world import MAX_LENGTH, NAME, World, noise_world
from reference_pipeline import PickleReader, ReferenceDataset, reference_chunks, reference_loader, write_pickles
from side_by_side import alternate, claim, common_options, machine

from recbole_pixel.store import decode_image

WANT = 30.0
ROWS = 16
N_WORKERS = 2
PASSED = 5  # batches before a timing: more than wait in any queue
USERS = 1000  # seconds are given for so many


def reference_program(world: World, folder: Path, n_batches: int) -> Callable[[], float]:
    """Seconds that the reference's loader takes for ``USERS`` users."""
    path, images = folder / f"pickles-{len(world.tokens)}", world.images
    if not path.exists():
        write_pickles(path, ((t, decode_image(images.read(t), 224)) for t in world.tokens), len(world.tokens))
    ids = {token: number for number, token in enumerate(world.tokens, start=1)}
    chunks = reference_chunks([[ids[token] for token in history] for history in world.histories])
    loader = reference_loader(ReferenceDataset(chunks, ["", *world.tokens], PickleReader(path)), ROWS, N_WORKERS)
    return lambda: _timed(loader, n_batches, lambda batch: len(batch[1]))


def our_loader(world: World, folder: Path, **settings: Any) -> tuple[Any, Any]:
    """The training loader of a run with ``settings``, its pixels decoded, and the encoder that they are for."""
    from recbole.utils import get_model, init_seed

    from recbole_pixel.config import make_config
    from recbole_pixel.quick_start import prepare_data

    own = {
        "data_path": str(world.data_path), "checkpoint_dir": str(folder / "saved"), "cache_dir": str(folder / "cache"),
        "encoder": "resnet18", "encoder_weights": "random", "image_size": 224, "tune": "full", "loss_type": "BPR",
        "MAX_ITEM_LIST_LENGTH": MAX_LENGTH, "train_batch_size": ROWS, "standardise_features": False, "state": "ERROR",
    }  # fmt: skip
    config = make_config("PixelSASRec", NAME, settings={**own, **settings})
    init_seed(0, True)
    _, train, _, _ = prepare_data(config)
    tower = get_model("PixelSASRec")(config, train._dataset).item_tower
    train.inputs = tower.inputs  # as PixelTrainer does before the first epoch
    return train, tower.encoder


def our_program(loader: Any, n_batches: int, encoder: Any = None) -> Callable[[], float]:
    """Seconds that our loader takes for ``USERS`` users; with an ``encoder``, to have them normalised for it."""

    def consume(batch: Any) -> int:
        if encoder is not None:
            encoder.normalise(batch["catalogue_input"])
        return len(batch["user_id"])

    return lambda: _timed(loader, n_batches, consume)


def _timed(loader: Any, n_batches: int, consume: Callable[[Any], int]) -> float:
    batches = iter(loader)
    for _ in range(PASSED):
        next(batches)
    began = time.perf_counter()
    n_users = sum(consume(batch) for batch in itertools.islice(batches, n_batches))
    seconds = time.perf_counter() - began
    del batches  # ends workers and threads: nobody computes while others are timed
    return seconds / n_users * USERS


def main() -> None:
    """Reads the options, runs, prints."""
    options = common_options(__doc__, 3).parse_args()
    torch.set_num_threads(1)
    with TemporaryDirectory() as temporary:
        run(options.folder or Path(temporary), options.quick, 2 if options.quick else options.rounds)


def run(folder: Path, quick: bool, rounds: int) -> None:
    """Measures in ``folder`` and prints the claims."""
    world = noise_world(folder, *((800, 400) if quick else (4000, 4000)))
    n_theirs, n_ours = (4, 30) if quick else (8, 200)
    own, encoder = our_loader(world, folder)
    variants = {
        "in-batch": our_loader(world, folder, loss_type="CE", extra_candidates=0)[0],
        "file": our_loader(world, folder, pixel_tier="file")[0],
        "64 rows": our_loader(world, folder, train_batch_size=64)[0],
    }
    programs = {
        "reference": reference_program(world, folder, n_theirs),
        "ours": our_program(own, n_ours),
        "normalised": our_program(own, n_ours // 10, encoder),
        **{name: our_program(loader, n_ours // (4 if name == "64 rows" else 1)) for name, loader in variants.items()},
    }
    seconds = alternate(programs, rounds)
    theirs = seconds.pop("reference")
    about = {"reference_users_per_second": USERS / theirs, "workers": N_WORKERS, "rows": ROWS, "rounds": rounds}
    for name, taken in seconds.items():
        title = "loader, same negatives" + ("" if name == "ours" else f", {name}")
        title = "loader, in-batch negatives" if name == "in-batch" else title
        want = WANT if name == "ours" else None
        claim(title, theirs / taken, want, users_per_second=USERS / taken, **about, **machine())


if __name__ == "__main__":
    main()

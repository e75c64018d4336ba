"""Claims: a training step of ours against the reference's, what lies around its arithmetic, and the trunk cache.

ViT-B/32 of CLIP at 224 pixels, rows of 10 items, float32, random weights, synthetic interactions and pictures. Each
program makes a batch with its loader and trains on it; programs alternate in one process.

* ``same negatives``: `tune: top:2`, BPR with a negative for each position, as the reference: at least 3x.
* ``in-batch negatives``: the same, ranked against the batch's own items: at least 5x.
* ``around the arithmetic``: `tune: full`; the share of a step that is neither forward nor backward of encoder and
  recommender (loader, normalising, projection, gradients set to zero, optimiser) is under 5%: 0.05 / share is above 1.
* ``trunk cache``: `tune: top:2` with kept activations against the whole encoder: at least 2.3x.
* ``24 GiB``: the memory of a step of 64 rows with a negative for each position, `tune: top:2`, by its peak in a process
  of its own: at least once into 24 GiB. ``chunks``: how much less of it is activations in chunks of 64.

    python benchmarks/train_step.py [--quick] [--encoder ViT-B/32] [--tune top:2] [--rows 16] [--rounds 2] [--only NAME]

`--quick` is a ViT-Ti with 4 rows, in half a minute. Wanted ratios are those of the default encoder and policy.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from noise_world import MAX_LENGTH, World, noise_picture, noise_world
from reference_pipeline import (
    PickleReader,
    ReferenceDataset,
    ReferenceModel,
    ReferenceStep,
    reference_chunks,
    reference_loader,
    write_pickles,
)
from side_by_side import alternate, claim, in_fresh_process, machine, peak_memory

N_STORED = 256  # pictures that exist; the items share them, and are told apart by their ids
N_ITEMS = 4000
SIZES = {"hidden_size": 512, "inner_size": 1024, "n_layers": 2, "n_heads": 4}  # the reference's
DROPOUT = {"hidden_dropout_prob": 0.1, "attn_dropout_prob": 0.1}


def stored_world(folder: Path) -> World:
    """The pictures, each an item of a small dataset."""
    return noise_world(folder, n_users=64, n_items=N_STORED)


def write_rows(folder: Path, n_rows: int) -> list[list[int]]:
    """Interactions of ``n_rows`` users over all items, and theirs by number, but for the two that are not trained on.

    Six users of ten fill a row; the others have 4 items or more.
    """
    rng = np.random.default_rng(1)
    lengths = np.where(rng.random(n_rows) < 0.6, MAX_LENGTH + 1, rng.integers(4, MAX_LENGTH + 1, n_rows))
    histories = [rng.choice(N_ITEMS, length + 2, replace=False).tolist() for length in lengths]
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    lines += [f"u{user}\ti{item}\t{time}" for user, items in enumerate(histories) for time, item in enumerate(items)]
    lines += [f"other\ti{item}\t{time}" for time, item in enumerate(range(N_ITEMS))]
    path = folder / "rows" / "rows.inter"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [[item + 1 for item in items[:-2]] for items in histories]


class OurStep:
    """A training step of ours, from the loader's batch to updated weights.

    Args:
        folder: the interactions, and what is prepared of the pictures.
        n_rows: users of a batch.
        keeps_trunk: whether activations of the frozen trunk were computed before.
        settings: of the run.
    """

    def __init__(self, folder: Path, n_rows: int, keeps_trunk: bool, **settings: Any) -> None:
        from recbole.utils import get_model, init_seed

        from recbole_pixel.quick_start import prepare_data
        from recbole_pixel.trainer import PixelTrainer

        self.config = our_config(folder, train_batch_size=n_rows, **settings)
        init_seed(0, True)
        self.loader = prepare_data(self.config)[1]
        model = get_model("PixelSASRec")(self.config, self.loader._dataset)
        self.model = model.to(self.config["device"]).train()
        self.trainer = PixelTrainer(self.config, self.model)
        self.loader.inputs = self._inputs(folder, keeps_trunk)
        self.model.item_tower._inputs.value = self.loader.inputs

    def _inputs(self, folder: Path, keeps_trunk: bool) -> Any:
        """What the encoder reads: pixels, or kept activations, of the pictures that exist, in turn for all items."""
        from recbole_pixel.data.pictures import pixel_store, trunk_store
        from recbole_pixel.data.tiers import inputs_in_tier

        encoder, device = self.model.item_tower.encoder, torch.device(self.config["device"])
        store = pixel_store(stored_world(folder).images, encoder.image_size, folder / "cache")
        if keeps_trunk:
            store = trunk_store(store, encoder, folder / "cache", device)
        records = np.arange(N_ITEMS + 1) % N_STORED
        return inputs_in_tier(store, records, "auto", device, from_trunk=keeps_trunk, channels_last=not keeps_trunk)

    def __call__(self) -> None:
        """One step; the loader begins anew, so that nothing was prepared while others ran."""
        batch = next(iter(self.loader)).to(self.config["device"])
        self.trainer._train_step(batch, self.model.calculate_loss)


def our_config(folder: Path, **settings: Any) -> Any:
    """RecBole's Config of a PixelSASRec on the rows of :func:`write_rows`."""
    from recbole_pixel.config import make_config

    own = {
        "data_path": str(folder), "checkpoint_dir": str(folder / "saved"), "cache_dir": str(folder / "cache"),
        "images": str(stored_world(folder).images.path), "missing_image": "mean", "encoder_weights": "random",
        "precision": "float32", "trunk_cache": "off", "train_encoder_chunk": None, "standardise_features": False,
        "projection_activation": "relu", "MAX_ITEM_LIST_LENGTH": MAX_LENGTH, "rows_per_user": 1, "shuffle": False,
        "state": "ERROR", "show_progress": False,
    }  # fmt: skip
    return make_config("PixelSASRec", "rows", settings={**own, **SIZES, **DROPOUT, **settings})


class ReferenceProgram:
    """A training step of the reference, from its loader's batch, made by two worker processes, to updated weights."""

    def __init__(self, folder: Path, histories: list[list[int]], name: str, tune: str) -> None:
        from recbole_pixel.encoder import ImageEncoder

        world, pickles = stored_world(folder), folder / "pickles.lmdb"
        encoder = ImageEncoder(name, weights="random", tune=tune).train()
        if not pickles.exists():
            rng = np.random.default_rng(2)
            write_pickles(pickles, ((token, noise_picture(rng)) for token in world.tokens), N_STORED)
        tokens = [world.tokens[item % N_STORED] for item in range(N_ITEMS + 1)]
        chunks = reference_chunks(histories)
        self.dataset = ReferenceDataset(chunks, tokens, PickleReader(pickles, encoder.image_size))
        self.step = ReferenceStep(ReferenceModel(encoder, max_length=MAX_LENGTH).train())

    def __call__(self) -> None:
        """One step, on all sequences."""
        self.step(next(iter(reference_loader(self.dataset, len(self.dataset)))))


def steps_against_the_reference(folder: Path, options: argparse.Namespace) -> None:
    """Prints the claims of the step and of the trunk cache."""
    histories = write_rows(folder, options.rows)
    encoder = {"encoder": options.encoder, "tune": options.tune}
    programs: dict[str, Callable[[], object]] = {
        "reference": ReferenceProgram(folder, histories, options.encoder, options.tune),
        "same negatives": OurStep(folder, options.rows, True, loss_type="BPR", **encoder),
        "in-batch negatives": OurStep(folder, options.rows, True, loss_type="CE", **encoder),
        "without trunk cache": OurStep(folder, options.rows, False, loss_type="CE", **encoder),
    }
    seconds = alternate(programs, options.rounds)
    about = {"encoder": options.encoder, "tune": options.tune, "rows": options.rows, **machine()}
    for name, want in (("same negatives", 3.0), ("in-batch negatives", 5.0)):
        ratio = seconds["reference"] / seconds[name]
        claim(f"train step, {name}", ratio, want, seconds=seconds[name], reference=seconds["reference"], **about)
    kept, computed = seconds["in-batch negatives"], seconds["without trunk cache"]
    claim("trunk cache", computed / kept, 2.3, seconds=kept, without=computed, **about)


class Stopwatch:
    """Seconds spent in some functions, put around those of an object."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, owner: Any, name: str) -> None:
        """Counts the time in ``owner``'s method ``name`` from now on."""
        function = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - began

        setattr(owner, name, timed)


def around_the_arithmetic(folder: Path, options: argparse.Namespace) -> None:
    """Prints how little of a step of a whole encoder is spent beside forward and backward."""
    n_rows = max(4, options.rows // 2)
    write_rows(folder, n_rows)
    step = OurStep(folder, n_rows, False, loss_type="CE", encoder=options.encoder, tune="full")
    inside = Stopwatch()
    for name in ("forward_features", "forward_head"):
        inside.around(step.model.item_tower.encoder.backbone, name)
    inside.around(step.model, "loss_in_step")
    inside.around(step.trainer.accumulation, "backward")
    shares = []
    for _ in range(options.rounds + 1):
        inside.seconds, began = 0.0, time.perf_counter()
        step()
        whole = time.perf_counter() - began
        shares.append(1 - inside.seconds / whole)
    share = float(np.median(shares[1:]))
    about = {"seconds": whole, "encoder": options.encoder, "tune": "full", "rows": n_rows, **machine()}
    claim("around the arithmetic", 0.05 / share, 1.0, share=share, **about)


def keep_trunk(folder: Path, n_rows: int, encoder: str, tune: str) -> None:
    """Computes the activations that a step reads: not in the process whose memory is measured."""
    OurStep(folder, n_rows, True, loss_type="BPR", encoder=encoder, tune=tune)


def one_step(folder: Path, n_rows: int, encoder: str, tune: str, chunk: int | None) -> float:
    """MiB resident before a step that is then made."""
    step = OurStep(folder, n_rows, True, loss_type="BPR", encoder=encoder, tune=tune, train_encoder_chunk=chunk)
    before = peak_memory()
    step()
    return before


def memory_of_a_step(folder: Path, options: argparse.Namespace) -> None:
    """Prints whether a step of four times the rows fits into 24 GiB, and what chunks save of it."""
    n_rows, chunk = 4 * options.rows, 64
    write_rows(folder, n_rows)
    arguments = (folder, n_rows, options.encoder, options.tune)
    in_fresh_process(keep_trunk, *arguments)
    before, whole = in_fresh_process(one_step, *arguments, None)
    before_chunks, chunked = in_fresh_process(one_step, *arguments, chunk)
    about = {"encoder": options.encoder, "tune": options.tune, "rows": n_rows}
    claim("24 GiB", 24 * 1024 / whole, 1.0, mib=whole, mib_before_the_step=before, **about)
    saved = (whole - before) / (chunked - before_chunks)
    claim("chunks", saved, None, mib=chunked, mib_before_the_step=before_chunks, chunk=chunk, **about)


PARTS = {
    "reference": steps_against_the_reference, "arithmetic": around_the_arithmetic, "memory": memory_of_a_step,
}  # fmt: skip


def main() -> None:
    """Runs the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small encoder and few rows")
    parser.add_argument("--encoder", default=None, help="a preset or a timm model of 224 pixels")
    parser.add_argument("--tune", default="top:2")
    parser.add_argument("--rows", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", choices=PARTS, default=None)
    parser.add_argument("--folder", type=Path, default=None, help="where to keep the pictures; a temporary one")
    options = parser.parse_args()
    options.encoder = options.encoder or ("vit_tiny_patch16_224" if options.quick else "ViT-B/32")
    options.rows = options.rows or (4 if options.quick else 16)
    with TemporaryDirectory() as temporary:
        for name, part in PARTS.items():
            if options.only in (None, name):
                part(options.folder or Path(temporary), options)


if __name__ == "__main__":
    main()

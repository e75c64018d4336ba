"""Claims: our stores give pictures faster than the reference's, which unpickles each out of LMDB and makes it float32.

Each reads the same random batches of distinct pictures of 224 x 224, in this process, without workers, from a warm page
cache. ``ImageStore`` is what is kept on disk, JPEG files in LMDB, each compared with its checksum and decoded; it is
read once, to be decoded. ``ArrayStore`` is what training reads, decoded pixels in a flat file, uint8 into a reused
buffer: in ``memory`` a preloaded map of it, in ``file`` a `pread` for each run of records. ``fresh buffer`` is the same
without reuse. ``file, cold`` has the page cache dropped before each batch, on both sides.

    python benchmarks/store.py [--quick] [--rounds 7] [--folder FOLDER]
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from noise_world import SIDE, World, noise_world
from reference_pipeline import PickleReader, write_pickles
from side_by_side import alternate, claim, common_options, machine

from recbole_pixel.store import ArrayStore, decode_image

N_READ = 320  # pictures of a batch: about what 16 users and their negatives are
THEIRS = 64  # of these the reference reads; its time is scaled
READS = 10  # batches of each round, where one is quick


class Readers:
    """The programs, each of which returns the seconds that it takes for ``N_READ`` pictures.

    Args:
        world: gives the pictures.
        folder: where the pickles and the decoded pixels are, or are made.
    """

    def __init__(self, world: World, folder: Path) -> None:
        from recbole_pixel.data.pictures import pixel_store

        self.images, self.tokens = world.images, world.tokens
        pickles = folder / f"pickles-{len(self.tokens)}"
        if not pickles.exists():
            decoded = ((token, decode_image(self.images.read(token), SIDE)) for token in self.tokens)
            write_pickles(pickles, decoded, len(self.tokens))
        self.pickles, self.reader = pickles / "data.mdb", PickleReader(pickles)
        path = pixel_store(self.images, SIDE, folder / "cache").path
        self.memory, self.file = ArrayStore(path, mapped=True), ArrayStore(path, mapped=False)
        self.memory.preload()
        self.rng, self.buffer = np.random.default_rng(0), np.zeros((N_READ, SIDE, SIDE, 3), np.uint8)

    def _drawn(self, n: int) -> list[str]:
        return [self.tokens[item] for item in self.rng.choice(len(self.tokens), n, replace=False)]

    def reference(self) -> float:
        """PixelRec's way, stacked into a batch."""
        tokens = self._drawn(THEIRS)
        return _seconds(lambda: torch.stack([self.reader.read(token) for token in tokens])) * N_READ / THEIRS

    def decoding(self) -> float:
        """``ImageStore``, decoded to uint8."""
        tokens = self._drawn(THEIRS)

        def read() -> None:
            for place, token in zip(self.buffer, tokens, strict=False):
                place[:] = decode_image(self.images.read(token), SIDE)

        return _seconds(read) * N_READ / THEIRS

    def gathering(self, store: ArrayStore, reuse: bool = True) -> float:
        """``ArrayStore``; into one buffer, or a new one each time."""
        batches = [store.positions(self._drawn(N_READ)) for _ in range(READS)]
        out = self.buffer if reuse else None
        return _seconds(lambda: [store.gather(positions, out) for positions in batches]) / READS

    def cold_reference(self) -> float:
        """As :meth:`reference`, from the disk."""
        self.reader.close()  # a page that is mapped cannot be dropped
        _drop_pages(self.pickles)
        return self.reference()

    def cold_file(self) -> float:
        """``ArrayStore`` read from the disk."""
        _drop_pages(self.file.path / "data.bin")
        positions = self.file.positions(self._drawn(N_READ))
        return _seconds(lambda: self.file.gather(positions, self.buffer))


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _drop_pages(path: Path) -> None:
    """Drops what the page cache holds of a file that is mapped nowhere."""
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)


def main() -> None:
    """Reads the options, runs, prints."""
    options = common_options(__doc__, 7).parse_args()
    torch.set_num_threads(1)
    with TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        world = noise_world(folder, *((800, 400) if options.quick else (4000, 4000)))
        run(Readers(world, folder), 2 if options.quick else options.rounds)


def run(readers: Readers, rounds: int) -> None:
    """Measures and prints the claims."""
    programs: dict[str, Callable[[], float]] = {
        "reference": readers.reference,
        "ImageStore, decoded": readers.decoding,
        "ArrayStore, memory": lambda: readers.gathering(readers.memory),
        "ArrayStore, memory, fresh buffer": lambda: readers.gathering(readers.memory, reuse=False),
        "ArrayStore, file": lambda: readers.gathering(readers.file),
    }
    report(alternate(programs, rounds), rounds)
    readers.memory = None  # type: ignore[assignment]  # unmaps it
    cold = {"reference": readers.cold_reference, "ArrayStore, file, cold": readers.cold_file}
    report(alternate(cold, rounds), rounds)


def report(seconds: dict[str, float], rounds: int) -> None:
    """Prints a claim for each program but the reference."""
    theirs = seconds.pop("reference")
    for name, taken in seconds.items():
        claim(
            f"store: {name}",
            theirs / taken,
            None,
            pictures_per_second=N_READ / taken,
            reference_pictures_per_second=N_READ / theirs,
            rounds=rounds,
            **machine(),
        )


if __name__ == "__main__":
    main()

"""Claim: a build of a store that is killed anywhere, and run again, makes the store that an undisturbed one makes.

Three builds are killed by SIGKILL: of a new image store, of one that replaces an older store after its source changed,
and of an array store. Half of the kills come before the n-th file is opened, renamed or removed, n drawn at random from
all of them, so that every stage has its turn; half come after a random time. A build is killed up to three times in
a row. What is at the store's name after each kill must be nothing, or the whole old store, or the whole new one; after
the last kill the build runs undisturbed, and store and folder must be the same as without kills.

    python benchmarks/kill_builds.py [--quick] [--kills 100] [--seed 0]
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from killed_children import Child, file_events_of, imported_before
from side_by_side import claim

from recbole_pixel.store import (
    ArrayStore,
    ArrayStoreWriter,
    ImageStore,
    array_writer,
    build_image_store,
    encode_image,
    image_writer,
)

N_ITEMS = 30


class Shades:
    """A source of pictures of one colour each.

    Args:
        changed: whether every third picture is another, the first is gone and one is new.
    """

    name = "shades"

    def __init__(self, changed: bool) -> None:
        self.colours = {f"i{i}": i * 8 for i in range(N_ITEMS)}
        if changed:
            self.colours = {f"i{i}": i * 8 + (i % 3 == 0) for i in range(1, N_ITEMS + 1)}

    def tokens(self) -> list[str]:
        """In their order."""
        return list(self.colours)

    def read(self, token: str) -> bytes:
        """A JPEG of the item's colour."""
        return encode_image(np.full((24, 24, 3), self.colours[token], np.uint8))

    def fingerprint(self) -> str:
        """Of the colours."""
        return hashlib.sha256(repr(self.colours).encode()).hexdigest()


def build_images(path: Path, changed: bool) -> None:
    """An image store, in many small commits."""
    image_writer.BATCH_RECORDS = 4
    build_image_store(Shades(changed), path, size=16, workers=1, progress=False)


def build_arrays(path: Path, changed: bool) -> None:
    """An array store, its progress noted after every block."""
    array_writer.SYNC_SECONDS = 0.0
    values = np.arange(N_ITEMS * 64, dtype=np.int32).reshape(N_ITEMS, 64) + changed
    with ArrayStoreWriter(path, [f"i{i}" for i in range(N_ITEMS)], (64,), "i4", {"changed": changed}) as writer:
        for start in range(writer.written, N_ITEMS, 5):
            writer.write(start, values[start : start + 5])


def images_in(path: Path) -> dict[str, bytes]:
    """Every picture of a store, read against its checksum."""
    store = ImageStore(path)
    return {token: store.read(token) for token in store.tokens()}


def arrays_in(path: Path) -> dict[str, bytes]:
    """Every array of a store, read against its checksum."""
    store = ArrayStore(path)
    assert not store.verify()
    return {token: store.gather(np.array([i])).tobytes() for i, token in enumerate(store.tokens)}


@dataclass(frozen=True)
class Case:
    """A build to kill.

    Attributes:
        name: of the claim.
        build: makes the store at a path, of the first or of the changed source.
        read: all that is in the store.
        replaces: whether there is an older store at the path.
    """

    name: str
    build: Callable[[Path, bool], None]
    read: Callable[[Path], dict[str, bytes]]
    replaces: bool

    def prepare(self, folder: Path) -> Path:
        """An empty folder, but for the older store; returns where the new one goes."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if self.replaces:
            self.build(folder / "store", False)
        return folder / "store"


CASES = (
    Case("image store", build_images, images_in, False),
    Case("image store that replaces another", build_images, images_in, True),
    Case("array store", build_arrays, arrays_in, True),
)


@dataclass
class Outcome:
    """What became of the kills of one case."""

    n_kills: int = 0
    n_builds: int = 0
    n_equal: int = 0
    n_whole_at_kill: int = 0
    n_wrong_at_kill: int = 0


class Undisturbed:
    """What a build does if nobody kills it.

    Attributes:
        n_events: files that it opens, renames or removes.
        seconds: that it takes.
        before: what is in the older store; None without one.
        after: what is in the finished store.
        beside: names in its folder.
    """

    def __init__(self, case: Case, folder: Path) -> None:
        path = case.prepare(folder)
        self.before = case.read(path) if case.replaces else None
        runs = [file_events_of(case.build, case.prepare(folder), True) for _ in range(3)]
        self.n_events, self.seconds = runs[-1][0], min(seconds for _, seconds in runs)
        self.after, self.beside = case.read(path), names_below(folder)


def names_below(folder: Path) -> list[str]:
    """All files and folders, by name."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def killed(case: Case, path: Path, at_event: int | None = None, after: float = 0.0) -> bool:
    """Builds in a child, killed before its file event `at_event` or `after` seconds; False if it ended first."""
    child = Child(case.build, path, True, at_event=at_event)
    return child.killed_after(after) if at_event is None else child.was_killed()


def look(case: Case, path: Path, usual: Undisturbed, outcome: Outcome) -> None:
    """Notes whether the store's name shows nothing, or all of the old or of the new store."""
    try:
        found: Mapping[str, bytes] | None = case.read(path)
    except FileNotFoundError:
        return
    outcome.n_whole_at_kill += found in (usual.before, usual.after)
    outcome.n_wrong_at_kill += found not in (usual.before, usual.after)


def resume(case: Case, folder: Path, usual: Undisturbed, outcome: Outcome) -> None:
    """Runs the build to its end and compares."""
    case.build(folder / "store", True)
    outcome.n_builds += 1
    outcome.n_equal += case.read(folder / "store") == usual.after and names_below(folder) == usual.beside


def kill_at_random(case: Case, folder: Path, n_kills: int, seed: int) -> Outcome:
    """Kills builds `n_kills` times in all."""
    rng, outcome, usual = random.Random(seed), Outcome(), Undisturbed(case, folder)
    while outcome.n_kills < n_kills:
        path = case.prepare(folder)
        for _ in range(rng.randint(1, 3)):
            at_event = rng.randint(1, usual.n_events) if rng.random() < 0.5 else None
            if killed(case, path, at_event, rng.uniform(0.0, usual.seconds)):
                outcome.n_kills += 1
                look(case, path, usual, outcome)
        resume(case, folder, usual, outcome)
    return outcome


def main() -> None:
    """Reads the options, kills, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="ten kills of each build")
    parser.add_argument("--kills", type=int, default=100, help="of each build (default 100)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    imported_before("recbole_pixel.store")
    with TemporaryDirectory() as temporary:
        for case in CASES:
            began = time.perf_counter()
            outcome = kill_at_random(case, Path(temporary) / "w", 10 if options.quick else options.kills, options.seed)
            right = outcome.n_equal / outcome.n_builds if not outcome.n_wrong_at_kill else 0.0
            claim(f"kills: {case.name}", right, 1.0, **vars(outcome), seconds=time.perf_counter() - began)


if __name__ == "__main__":
    main()

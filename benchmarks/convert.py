"""Claim: four million interactions convert in seconds and in bounded memory.

Makes a synthetic CSV of PixelRec's shape (200,000 users, 96,000 items), converts it, and does the least that pandas
would do instead (read, sort by user and time, write): seconds, peak memory, and the ratio of both. Each runs in a
process of its own, since peak memory is a process's. With more --rows the time grows, the memory hardly does.

    python benchmarks/convert.py [--rows 4000000] [--scratch DIR]
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

USERS, ITEMS = 200_000, 96_000


def make_csv(path: Path, n_rows: int) -> None:
    """Writes item_id,user_id,timestamp rows: popular items as in a long tail, times of ten years."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(0)
    with path.open("wb") as stream:
        for start in range(0, n_rows, 1_000_000):
            n = min(1_000_000, n_rows - start)
            items, users = (ITEMS * rng.power(0.3, n)).astype(int), rng.integers(0, USERS, n)
            times = rng.integers(1_328_000_000, 1_656_000_000, n)
            frame = pl.DataFrame({"item_id": items, "user_id": users, "timestamp": times})
            frame = frame.with_columns(pl.format("i{}", "item_id").alias("item_id"))
            frame = frame.with_columns(pl.format("u{}", "user_id").alias("user_id"))
            frame.write_csv(stream, include_header=start == 0)


def ours(csv: Path, folder: Path) -> None:
    """The converter."""
    from recbole_pixel.convert import convert, pixelrec_source

    convert(pixelrec_source(csv), "synthetic", folder)


def plain_pandas(csv: Path, folder: Path) -> None:
    """Read, sort, write; no checks, no items."""
    import pandas as pd

    frame = pd.read_csv(csv).sort_values(["user_id", "timestamp"], kind="stable")
    frame[["user_id", "item_id", "timestamp"]].to_csv(folder / "pandas.inter", sep="\t", index=False)


def measured(work: Callable[[Path, Path], None], csv: Path, folder: Path) -> tuple[float, float]:
    """Seconds and peak memory in MB of the work, in a fresh process, imports included."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=_measure, args=(work, csv, folder, sender))
    process.start()
    sender.close()
    seconds, peak = receiver.recv()
    process.join()
    return seconds, peak


def _measure(work: Callable[[Path, Path], None], csv: Path, folder: Path, sender: Connection) -> None:
    started = time.perf_counter()
    work(csv, folder)
    seconds = time.perf_counter() - started
    unit = 1 if sys.platform == "darwin" else 1024
    sender.send((seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6))


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--scratch", type=Path, help="folder for the temporary files (default: the system's)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as name:
        folder = Path(name)
        csv = folder / "synthetic.csv"
        make_csv(csv, arguments.rows)
        print(f"{arguments.rows:,} rows, {csv.stat().st_size / 1e6:,.0f} MB")
        figures = {work.__name__: measured(work, csv, folder) for work in (ours, plain_pandas)}
    for work, (seconds, peak) in figures.items():
        print(f"{work:>12}: {seconds:6.1f} s, peak {peak:6,.0f} MB")
    ratios = [pandas / own for pandas, own in zip(figures["plain_pandas"], figures["ours"], strict=True)]
    print(f"pandas / ours: {ratios[0]:.1f}x the time, {ratios[1]:.1f}x the memory")


if __name__ == "__main__":
    main()

"""Claims: interactions load 10 times faster and in a quarter of the memory of stock RecBole; 196 million rows load.

A synthetic file of PixelRec's shape (users of 1 to 50 items or so, in no order of users or time) is loaded for a
sequential model as far as its first training batches: by ours without a cache, by ours from the cache, and by RecBole's
own SequentialDataset, each in a process of its own, since peak memory is a process's. RecBole is measured on fewer rows
and scaled by their number (``stock_scaled_by``) unless ``--whole`` is given: its loops over rows, and their lists, grow
with the rows. Memory is what a process held at its peak, with the imports (``base_MiB``), which are not scaled.

With ``--rows 196000000`` RecBole is left out; the claims are 16 GiB, 30 minutes cold and 2 minutes from the cache.

    python benchmarks/load_inter.py [--rows 4000000] [--folder DIR] [--quick] [--whole]
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from side_by_side import claim, in_fresh_process, machine

ROWS_OF_ALL, USERS_OF_ALL, ITEMS_OF_ALL = 196_000_000, 30_000_000, 408_374
STOCK_ROWS = 250_000
LONGEST = 50
BATCHES = 100


def write_file(path: Path, n_rows: int, n_users: int, n_items: int) -> None:
    """Writes rows in the order of time, users at random, popular items as in a long tail; every user has a row."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import csv

    rng, block = np.random.default_rng(0), 4_000_000
    path.parent.mkdir(parents=True, exist_ok=True)
    first_rows = rng.permutation(n_users)  # every user once, spread over the file
    names = ["user_id:token", "item_id:token", "timestamp:float"]
    partial = path.with_suffix(".partial")
    with open(partial, "wb") as stream:
        stream.write(("\t".join(names) + "\n").encode())
        for first in range(0, n_rows, block):
            n = min(block, n_rows - first)
            users = rng.integers(0, n_users, n)
            places = np.arange(first * n_users // n_rows, (first + n) * n_users // n_rows)
            users[rng.choice(n, len(places), replace=False)] = first_rows[places]
            items = (n_items * rng.power(0.3, n)).astype(np.int64)
            times = 1_500_000_000_000 + np.sort(rng.integers(0, 100, n)) + first * 25
            table = pa.table([pa.array(column) for column in (users, items, times)], names=names)
            options = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
            csv.write_csv(table, stream, write_options=options)
    partial.replace(path)


def loaded(model: str, folder: str, is_stock: bool) -> dict[str, float]:
    """Seconds from settings to parts and to the first batches, imports left out."""
    from recbole.data import create_dataset, data_preparation

    from recbole_pixel.config import make_config
    from recbole_pixel.quick_start import prepare_data

    own = {"data_path": folder, "checkpoint_dir": folder, "MAX_ITEM_LIST_LENGTH": LONGEST, "seed": 1, "state": "ERROR"}
    own |= {"loss_type": "CE"} if is_stock else {"item_tower": "id", "extra_candidates": 0}
    config = make_config(model, "big", settings=own)
    began, busy = time.perf_counter(), time.process_time()
    if is_stock:
        dataset = create_dataset(config)
        str(dataset)
        train = data_preparation(config, dataset)[0]
    else:
        train = prepare_data(config)[1]
    seconds = {"load": time.perf_counter() - began}
    n_rows = 0
    for number, batch in enumerate(train):
        n_rows += len(batch)
        if number == BATCHES:
            break
    seconds["batches"] = time.perf_counter() - began - seconds["load"]
    return {**seconds, "cpu": time.process_time() - busy, "rows_of_batches": n_rows}


def measured(folder: Path, model: str, is_stock: bool = False) -> dict[str, Any]:
    """What a fresh process took, peak memory in MiB among it."""
    found, peak = in_fresh_process(loaded, model, str(folder), is_stock)
    return {**found, "total": found["load"] + found["batches"], "MiB": peak}


def made(folder: Path, n_rows: int, n_users: int, n_items: int) -> Path:
    """A data folder with a file of so many rows, written if it is not there, and without a cache."""
    data = folder / str(n_rows)
    shutil.rmtree(data / "big" / "cache", ignore_errors=True)
    if not (data / "big" / "big.inter").exists():
        write_file(data / "big" / "big.inter", n_rows, n_users, n_items)
    return data


def base_memory() -> float:
    """MiB of a process that imports what all of them import, and loads nothing."""
    return in_fresh_process(imported)[1]


def imported() -> None:
    """Imports RecBole and ours."""
    import recbole_pixel.quick_start  # noqa: F401


def compare(folder: Path, n_rows: int, stock_rows: int) -> None:
    """Ours, cold and from the cache, against stock RecBole."""
    users, items = max(n_rows // 20, 10), 96_000
    data = made(folder, n_rows, users, items)
    cold, again = (measured(data, "PixelSASRec") for _ in range(2))
    scale, base = n_rows / stock_rows, base_memory()
    stock = measured(made(folder, stock_rows, max(stock_rows // 20, 10), items), "SASRec", True)
    stock_seconds, stock_memory = stock["total"] * scale, base + (stock["MiB"] - base) * scale
    about = {"rows": n_rows, "stock_rows": stock_rows, "stock_scaled_by": scale, "base_MiB": base, **machine()}
    seconds = {"ours": cold["total"], "from_cache": again["total"], "stock": stock_seconds}
    about["cpu_seconds"] = {"ours": cold["cpu"], "from_cache": again["cpu"], "stock": stock["cpu"] * scale}
    memory = {"ours": cold["MiB"], "from_cache": again["MiB"], "stock": stock_memory}
    claim("load_inter.seconds", stock_seconds / cold["total"], 10, seconds=seconds, **about)
    claim("load_inter.memory", stock_memory / cold["MiB"], 4, MiB=memory, **about)
    claim("load_inter.from_cache", stock_seconds / again["total"], None, seconds=seconds, **about)


def endure(folder: Path, n_rows: int) -> None:
    """Ours alone, with users and items in proportion to PixelRec's whole file."""
    share = n_rows / ROWS_OF_ALL
    data = made(folder, n_rows, int(USERS_OF_ALL * share), ITEMS_OF_ALL)
    about = {"rows": n_rows, "GB": (data / "big" / "big.inter").stat().st_size / 1e9, **machine()}
    cold, again = (measured(data, "PixelSASRec") for _ in range(2))
    peak = max(cold["MiB"], again["MiB"])
    claim("load_inter.peak_under_16_GiB", 16 * 1024 / peak, 1, cold_MiB=cold["MiB"], again_MiB=again["MiB"], **about)
    claim("load_inter.cold_under_30_minutes", 1800 / cold["total"], 1, seconds=cold, **about)
    claim("load_inter.again_under_2_minutes", 120 / again["total"], 1, seconds=again, **about)


def main() -> None:
    """Prints the claims."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument(
        "--folder", type=Path, help="keeps the files, and takes those that are there (default: a temporary one)"
    )
    parser.add_argument("--quick", action="store_true", help="400,000 rows, to try it")
    parser.add_argument("--whole", action="store_true", help="stock RecBole on all rows, not on fewer and scaled")
    chosen = parser.parse_args()
    n_rows = 400_000 if chosen.quick else chosen.rows
    stock_rows = n_rows if chosen.whole else min(n_rows, STOCK_ROWS // (5 if chosen.quick else 1))
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        if n_rows > 10_000_000:
            endure(folder, n_rows)
        else:
            compare(folder, n_rows, stock_rows)


if __name__ == "__main__":
    main()

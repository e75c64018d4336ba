"""``recbole-pixel demo``: from nothing to a table of pictures against IDs, on films with drawn covers."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

NAME = "ml-100k-covers"
IMAGE_EPOCHS = 8
IMAGE: dict[str, Any] = {"item_tower": "image", "epochs": IMAGE_EPOCHS}
RUNS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("PixelSASRec, pictures", "PixelSASRec", IMAGE),
    ("PixelSASRec, pictures shuffled", "PixelSASRec", {**IMAGE, "shuffle_images": True}),
    ("PixelSASRec, ID twin", "PixelSASRec", {"item_tower": "id"}),
    ("Pop", "Pop", {}),
)


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "demo",
        help="convert MovieLens-100K with drawn covers, train, and compare",
        description="Converts the MovieLens-100K that RecBole ships, draws a cover per film, trains PixelSASRec end to "
        "end, and prints it beside its controls: shuffled pictures, its ID twin, popularity. A page shows the "
        "same with covers.",
    )
    parser.add_argument(
        "--epochs", type=int, help=f"at most so many epochs per model; {IMAGE_EPOCHS} for pictures by default"
    )
    parser.add_argument("--data_path", default="dataset_atomic", help="where the dataset goes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.set_defaults(func=run)


def run(namespace: argparse.Namespace) -> int:
    """Prepares the data, runs every model of :data:`RUNS`, prints the table and where the first one's page is.

    The first one runs last: its page shows the others, too.
    """
    from recbole_pixel.cli import main

    if main(["convert", "ml-100k", "--name", NAME, "--out", namespace.data_path]):
        return 2
    settings: dict[str, Any] = {"data_path": namespace.data_path, "seed": namespace.seed, "state": "WARNING"}
    limit = {} if namespace.epochs is None else {"epochs": namespace.epochs}
    rows: list[list[str]] = []
    for label, model, own in reversed(RUNS):
        print(f"\n{label} ...", flush=True)
        row, page = _row(label, model, {**settings, **own, **limit})
        rows.insert(0, row)
    rows.insert(0, ["model", "NDCG@10", "Recall@10", "parameters trained", "epochs", "seconds"])
    print(f"\n{NAME}, leave-one-out by time, all items ranked, seed {namespace.seed}\n\n{_table(rows)}\n")
    if page:
        print(f"report: {page}")
    return 0


def _row(label: str, model: str, settings: dict[str, Any]) -> tuple[list[str], str | None]:
    """Runs a model; returns its line of the table, and the path of its page."""
    from recbole_pixel.report.reporting import run_reported

    began = time.perf_counter()
    result = run_reported(model, NAME, settings=settings)
    seconds = time.perf_counter() - began
    if result["checkpoint"]:
        print(f"checkpoint: {Path(result['checkpoint'])}")
    test = result["test"]
    row = [
        label,
        f"{test['ndcg@10']:.4f}",
        f"{test['recall@10']:.4f}",
        f"{result['parameters']['trained']:,}",
        str(result["epochs"]),
        f"{seconds:.0f}",
    ]
    return row, result["report"]


def _table(rows: list[list[str]]) -> str:
    from recbole_pixel.result_table import markdown_table

    return markdown_table(rows)

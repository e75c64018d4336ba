"""`recbole-pixel images build | download | check | show`: picture stores from the command line."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from recbole_pixel.commands.images_download import add_download
from recbole_pixel.commands.picture_form import add_picture_form
from recbole_pixel.store import (
    CheckReport,
    ImageStore,
    array_stores,
    build_image_store,
    check_arrays,
    check_store,
    contact_sheet,
    is_array_store,
    open_source,
    random_tokens,
    read_items,
)

INTERRUPTED = 130


def add_parser(subparsers: Any) -> None:
    """Adds `images` and its four commands to the parser of `recbole-pixel`.

    Args:
        subparsers: what `ArgumentParser.add_subparsers` returned.
    """
    images = subparsers.add_parser("images", help="build, fill, check and look at picture stores")
    commands = images.add_subparsers(dest="images_command", required=True, metavar="build|download|check|show")
    _add_build(commands)
    add_download(commands)
    _add_check(commands)
    _add_show(commands)


def _add_build(commands: Any) -> None:
    parser = commands.add_parser("build", help="make a store from a folder, an archive or PixelRec's LMDB")
    parser.add_argument(
        "--source",
        required=True,
        type=Path,
        help="folder, ZIP, TAR (gz, bz2, xz), or "
        "PixelRec's LMDB; a picture's file name without its suffix is its item's token",
    )
    parser.add_argument("--out", required=True, type=Path, help="the store to make: DATA_PATH/NAME/images.lmdb")
    add_picture_form(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(func=run_build)


def _add_check(commands: Any) -> None:
    parser = commands.add_parser(
        "check", help="find missing, corrupt, orphaned and duplicate pictures and damaged caches; exit code 1 if any"
    )
    parser.add_argument(
        "--store", type=Path, help="the store (default: DATA_PATH/DATASET/images.lmdb), or a store of arrays"
    )
    items = parser.add_mutually_exclusive_group()
    items.add_argument("--dataset", help="dataset whose NAME.item (or NAME.inter) lists the items")
    items.add_argument("--items", type=Path, help="a .item or .inter file that lists the items")
    parser.add_argument(
        "--data_path", type=Path, default=Path("dataset_atomic"), help="where datasets are (default dataset_atomic)"
    )
    parser.add_argument(
        "--cache_dir", type=Path, help="where decoded pictures and activations are (default DATA_PATH/DATASET/cache)"
    )
    parser.add_argument(
        "--deep", action="store_true", help="also compare the whole file with its digest, and every array of the caches"
    )
    parser.add_argument("--verbose", action="store_true", help="name all items, not the first five of each kind")
    parser.add_argument("--report", type=Path, help="write everything found to this JSON file")
    parser.add_argument("--workers", type=int, help="threads that decode (default: one per core)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(func=run_check)


def _add_show(commands: Any) -> None:
    parser = commands.add_parser("show", help="a contact sheet of some pictures")
    parser.add_argument("--store", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path, help="the PNG file to write")
    parser.add_argument("--n", type=int, default=48, help="how many pictures, drawn at random (default 48)")
    parser.add_argument("--tokens", help="these items instead: a,b,c")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--columns", type=int, default=8)
    parser.set_defaults(func=run_show)


def run_build(arguments: argparse.Namespace) -> int:
    """Builds the store and prints the report: 0 when built, bad pictures or not; 130 when interrupted."""
    source = open_source(arguments.source)
    try:
        report = build_image_store(
            source,
            arguments.out,
            size=arguments.size,
            fit=arguments.fit,
            keep_original=arguments.keep_original,
            workers=arguments.workers,
            progress=not arguments.quiet,
        )
    except KeyboardInterrupt:
        print(f"interrupted; what was done is kept beside {arguments.out}: run the same command again to go on")
        return INTERRUPTED
    print(report)
    return 0


def run_check(arguments: argparse.Namespace) -> int:
    """Checks the store and prints what is wrong: 0 if nothing, 1 if anything."""
    if arguments.store is None and arguments.dataset is None:
        raise ValueError("say what to check: --store PATH, or --dataset NAME for DATA_PATH/NAME/images.lmdb")
    caches = [check_arrays(path, deep=arguments.deep) for path in _array_stores(arguments)]
    report = _picture_report(arguments)
    n_named = None if arguments.verbose else 5
    print("\n".join([*([report.text(n_named)] if report else []), *(found.text(n_named) for found in caches)]))
    if arguments.report is not None:
        told = json.loads(report.as_json()) if report else {}
        told["arrays"] = [found.as_dict() for found in caches]
        arguments.report.write_text(json.dumps(told, indent=1), encoding="utf-8")
    return 0 if (report is None or report.is_clean) and all(found.is_clean for found in caches) else 1


def _picture_report(arguments: argparse.Namespace) -> CheckReport | None:
    """What the check of the pictures found; None where a store of arrays was named."""
    if arguments.store is not None and is_array_store(arguments.store):
        return None
    store = arguments.store or arguments.data_path / arguments.dataset / "images.lmdb"
    file = arguments.items if arguments.dataset is None else _items_file(arguments.data_path, arguments.dataset)
    items = None if file is None else read_items(file)
    return check_store(store, items, deep=arguments.deep, workers=arguments.workers, progress=not arguments.quiet)


def _array_stores(arguments: argparse.Namespace) -> list[Path]:
    """The stores of arrays to look at: the one that was named, or the caches of the dataset."""
    if arguments.store is not None and is_array_store(arguments.store):
        return [arguments.store]
    if arguments.cache_dir is not None:
        return list(array_stores(arguments.cache_dir))
    return [] if arguments.dataset is None else list(array_stores(arguments.data_path / arguments.dataset / "cache"))


def run_show(arguments: argparse.Namespace) -> int:
    """Writes the contact sheet: 0."""
    store = ImageStore(arguments.store)
    tokens = arguments.tokens.split(",") if arguments.tokens else random_tokens(store, arguments.n, arguments.seed)
    contact_sheet(store, tokens, arguments.columns).save(arguments.out, format="PNG")
    print(f"{arguments.out}: {len(tokens)} of {len(store)} pictures")
    return 0


def _items_file(data_path: Path, dataset: str) -> Path:
    folder = data_path / dataset
    for file in (folder / f"{dataset}.item", folder / f"{dataset}.inter"):
        if file.exists():
            return file
    raise FileNotFoundError(f"neither {dataset}.item nor {dataset}.inter in {folder}; check --data_path and --dataset")

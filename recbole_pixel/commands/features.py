"""``recbole-pixel features extract | import | quantize | show``: frozen features from the command line."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recbole_pixel.store import ArrayStore


def add_parser(subparsers: Any) -> None:
    """Adds ``features`` and its four commands."""
    features = subparsers.add_parser("features", help="extract, import, quantise and look at frozen features")
    commands = features.add_subparsers(dest="features_command", required=True, metavar="extract|import|quantize|show")
    _add_extract(commands)
    _add_import(commands)
    _add_quantize(commands)
    show = commands.add_parser("show", help="what a store of features or codes holds, and what it was made of")
    show.add_argument("store", type=Path)
    show.set_defaults(func=run_show)


def _add_extract(commands: Any) -> None:
    parser = commands.add_parser("extract", help="what a frozen encoder makes of a dataset's pictures")
    parser.add_argument(
        "--encoder", required=True, help="a preset, as `recbole-pixel encoders` lists them, or a timm model name"
    )
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--weights", default="hub", help="hub, random, package:NAME, a file or folder (default: hub)")
    parser.add_argument(
        "--layer",
        help="pooled (the default), last (the last feature map), a stage's number, a module's name, or stages: mean "
        "and deviation of all stages (of eight, where there are more) beside pooled, each stage of equal weight",
    )
    parser.add_argument(
        "--shape",
        choices=("pooled", "spatial"),
        default="pooled",
        help="a vector an item (default), or one for each position of the feature map, as ACF needs",
    )
    parser.add_argument("--image_size", type=int, help="side of the input in pixels (default: the weights')")
    parser.add_argument("--images", type=Path, help="the picture store (default: DATA_PATH/DATASET/images.lmdb)")
    parser.add_argument("--batch", type=int, default=64, help="pictures per pass (default: %(default)s)")
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32", help="of the encoder")
    parser.add_argument("--device", default="auto", help="cpu, cuda, ... (default: an accelerator if there is one)")
    parser.add_argument("--seed", type=int, default=0, help="of --weights random (default: %(default)s)")
    _add_output(parser, "DATA_PATH/DATASET/features/ENCODER-LAYER.array")
    parser.set_defaults(func=run_extract)


def _add_import(commands: Any) -> None:
    parser = commands.add_parser("import", help="features or semantic ids from a .npy file, PixelRec or MMRec")
    parser.add_argument("file", type=Path, help=".npy, or PixelRec's image_feature.json")
    parser.add_argument("--dataset", help="put it into DATA_PATH/DATASET/features, and compare with its items")
    items = parser.add_mutually_exclusive_group()
    items.add_argument(
        "--tokens",
        type=Path,
        help="the items of the rows: a text file with a token a line, a .csv, .tsv, .item or .inter table, or MMRec's "
        "i_id_mapping.csv with --format mmrec",
    )
    items.add_argument("--interactions", type=Path, help="PixelRec's interactions .csv, in whose order the rows are")
    parser.add_argument(
        "--column", default="item_id", help="the items' column of a .csv or .tsv table (default: %(default)s)"
    )
    parser.add_argument("--format", choices=("auto", "npy", "pixelrec", "mmrec"), default="auto")
    parser.add_argument(
        "--channels_first", action="store_true", help="feature maps are (N, C, H, W) instead of (N, H, W, C)"
    )
    _add_output(parser, "DATA_PATH/DATASET/features/FILE.array")
    parser.set_defaults(func=run_import)


def _add_quantize(commands: Any) -> None:
    parser = commands.add_parser("quantize", help="semantic ids of items, by residual k-means of their features")
    parser.add_argument("features", type=Path, help="a store of vectors")
    parser.add_argument("--levels", type=int, default=4, help="codes an item (default: %(default)s)")
    parser.add_argument("--codes", type=int, default=256, help="codes of each level (default: %(default)s)")
    parser.add_argument(
        "--directions",
        type=int,
        default=32,
        help="principal directions along which a level clusters, 0 for all (default: %(default)s); fewer use the codes "
        "more evenly, more leave a smaller error",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", choices=("auto", "faiss", "sklearn"), default="auto", help="what clusters")
    parser.add_argument("--out", type=Path, help="the store to write (default: FEATURES-codes-LEVELSxCODES.array)")
    parser.add_argument("--overwrite", action="store_true", help="replace codes that were made otherwise")
    parser.set_defaults(func=run_quantize)


def _add_output(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--out", type=Path, help=f"the store to write (default: {default})")
    parser.add_argument("--data_path", type=Path, default=Path("dataset_atomic"), help="default: %(default)s")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="of the stored numbers")
    parser.add_argument("--overwrite", action="store_true", help="replace features that were made otherwise")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run_extract(arguments: argparse.Namespace) -> int:
    """Extracts, and prints where to: 0."""
    import torch

    from recbole_pixel.features.extract import extract, frozen_encoder
    from recbole_pixel.features.stages import make_layer
    from recbole_pixel.store import ImageStore

    folder = arguments.data_path / arguments.dataset
    images = ImageStore(arguments.images or folder / "images.lmdb")
    encoder = frozen_encoder(arguments.encoder, arguments.weights, arguments.image_size, arguments.seed)
    layer = make_layer(encoder, arguments.layer, is_spatial=arguments.shape == "spatial")
    name = arguments.encoder.replace("/", "-")  # ViT-B/32
    label = f"{name}-{layer.name}{'-spatial' if layer.is_spatial else ''}"
    device = arguments.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    store, is_new = extract(
        images,
        layer,
        arguments.out or folder / "features" / f"{label}.array",
        precision=arguments.precision,
        dtype=arguments.dtype,
        batch=arguments.batch,
        device=device,
        overwrite=arguments.overwrite,
        progress=not arguments.quiet,
    )
    _print_result(store, is_new)
    return 0


def run_import(arguments: argparse.Namespace) -> int:
    """Imports, and prints where to and how many of the dataset's items have features: 0."""
    from recbole_pixel.features.importing import import_features
    from recbole_pixel.features.sources import open_features

    if arguments.out is None and arguments.dataset is None:
        raise ValueError("say where to: --dataset NAME for DATA_PATH/NAME/features, or --out PATH")
    layout = "pixelrec" if arguments.interactions and arguments.format == "auto" else arguments.format
    source = open_features(
        arguments.file,
        layout,
        tokens=arguments.interactions or arguments.tokens,
        column=arguments.column,
        channels_first=arguments.channels_first,
        progress=not arguments.quiet,
    )
    out = arguments.out or arguments.data_path / arguments.dataset / "features" / f"{arguments.file.stem}.array"
    store, is_new = import_features(
        source, out, dtype=arguments.dtype, overwrite=arguments.overwrite, progress=not arguments.quiet
    )
    _print_result(store, is_new)
    if arguments.dataset is not None:
        print(_coverage(store, arguments.data_path / arguments.dataset, arguments.dataset))
    return 0


def run_quantize(arguments: argparse.Namespace) -> int:
    """Makes semantic ids, and prints how well each level tells the items: 0."""
    from recbole_pixel.features.quantize import codes_path, quantize
    from recbole_pixel.store import ArrayStore

    made = quantize(
        ArrayStore(arguments.features),
        arguments.out or codes_path(arguments.features, arguments.levels, arguments.codes),
        n_levels=arguments.levels,
        n_codes=arguments.codes,
        n_directions=arguments.directions,
        seed=arguments.seed,
        backend=arguments.backend,
        overwrite=arguments.overwrite,
    )
    for number, level in enumerate(made.levels, 1):
        print(
            f"level {number}: {level.distortion:.4f} of the variance left, {level.n_used} of {arguments.codes} codes "
            f"used, perplexity {level.perplexity:.1f}"
        )
    print(f"collisions: {made.n_colliding} items share all codes with another")
    _print_result(made.codes, is_new=bool(made.levels))
    print(f"codebooks: {made.codebooks.path}")
    return 0


def run_show(arguments: argparse.Namespace) -> int:
    """Prints a store: 0."""
    from recbole_pixel.store import ArrayStore

    store = ArrayStore(arguments.store)
    tokens = [token for token in store.tokens if token.isprintable()]
    stand_in = len(store) - len(tokens)
    print(f"{store.path}: {len(tokens)} items{' and their mean' if stand_in else ''}, e.g. {', '.join(tokens[:5])}")
    print(f"{store.dtype} of shape {store.shape} an item, {len(store) * store.record_bytes:,} bytes")
    for key, value in store.provenance.items():
        print(f"  {key}: {json.dumps(value, ensure_ascii=False)}")
    return 0


def _print_result(store: ArrayStore, is_new: bool) -> None:
    from recbole_pixel.store import MEAN_TOKEN

    state = "written" if is_new else "up to date"
    has_mean = MEAN_TOKEN in store
    items = f"{len(store) - has_mean} items{' and their mean' if has_mean else ''}"
    print(f"{store.path}: {state}, {items}, {store.dtype} of shape {store.shape}")


def _coverage(store: ArrayStore, folder: Path, dataset: str) -> str:
    """How many of the dataset's items are in the store."""
    from recbole_pixel.store import read_items

    file = next((f for f in (folder / f"{dataset}.item", folder / f"{dataset}.inter") if f.is_file()), None)
    if file is None:
        return f"{folder} has no {dataset}.item or {dataset}.inter to compare with"
    items = read_items(file)
    missing = [token for token in items if token not in store]
    return f"{len(items) - len(missing)} of {len(items)} items of {dataset} have features" + (
        f"; without: {', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''} (see missing_image)"
        if missing
        else ""
    )

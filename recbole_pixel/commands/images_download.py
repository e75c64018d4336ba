"""`recbole-pixel images download`: the pictures that a dataset's `.item` file names, into its store."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from recbole_pixel.commands.picture_form import add_picture_form
from recbole_pixel.store.download_options import DownloadOptions

INTERRUPTED = 130
DEFAULTS = DownloadOptions()


def add_download(commands: Any) -> None:
    """Adds `download` to the commands of `recbole-pixel images`.

    Args:
        commands: what `ArgumentParser.add_subparsers` returned.
    """
    parser = commands.add_parser("download", help="fetch the pictures whose URLs are in a dataset's .item file")
    parser.add_argument("--dataset", required=True, help="dataset whose NAME.item has the URLs")
    parser.add_argument(
        "--data_path", type=Path, default=Path("dataset_atomic"), help="where datasets are (default dataset_atomic)"
    )
    parser.add_argument("--url-column", default="image_url", help="its column of URLs (default image_url)")
    parser.add_argument("--out", type=Path, help="the store to fill (default: DATA_PATH/DATASET/images.lmdb)")
    add_picture_form(parser)
    parser.add_argument(
        "--retry-failed", action="store_true", help="ask again also for what was answered by 404 or 410"
    )
    parser.add_argument("--prune", action="store_true", help="take out pictures of items that are not in NAME.item")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    _add_options(parser)
    parser.set_defaults(func=run_download)


def _add_options(parser: argparse.ArgumentParser) -> None:
    """The fields of DownloadOptions, with their own defaults."""
    group = parser.add_argument_group("how servers are asked")
    for name, kind, meaning in (
        ("connections", int, "requests under way at a time"),
        ("per_host", int, "requests under way at a time to one host"),
        ("rate", float, "requests per second, to all hosts together"),
        ("retries", int, "further tries after a failure that may pass"),
        ("backoff", float, "seconds before the first retry, doubled for each further one"),
        ("max_wait", float, "longest time between tries in seconds, whatever Retry-After says"),
        ("connect_timeout", float, "seconds until a connection stands"),
        ("read_timeout", float, "seconds without a byte"),
        ("total_timeout", float, "seconds for one request"),
        ("max_bytes", int, "longest picture file in bytes"),
        ("max_redirects", int, "redirects followed for one picture"),
        ("give_up_after", int, "pictures of a host that fail in a row before it is left for another run"),
        ("user_agent", str, "how the program names itself"),
    ):
        flag, default = "--" + name.replace("_", "-"), getattr(DEFAULTS, name)
        group.add_argument(flag, type=kind, default=default, help=f"{meaning} (default {default})")
    group.add_argument(
        "--allow-private-hosts", action="store_true", help="ask loopback and private addresses too (an intranet)"
    )


def run_download(arguments: argparse.Namespace) -> int:
    """Fetches and prints the report: 0 if any picture came or none was needed, 1 if none came; 130 when interrupted."""
    from recbole_pixel.store.download import download_images  # httpx2 and polars: half a second for who needs neither

    folder = arguments.data_path / arguments.dataset
    out = arguments.out or folder / "images.lmdb"
    fields = DownloadOptions.__dataclass_fields__
    try:
        report = download_images(
            folder / f"{arguments.dataset}.item",
            out,
            url_column=arguments.url_column,
            size=arguments.size,
            fit=arguments.fit,
            keep_original=arguments.keep_original,
            workers=arguments.workers,
            options=DownloadOptions(**{name: getattr(arguments, name) for name in fields}),
            retry_failed=arguments.retry_failed,
            prune=arguments.prune,
            progress=not arguments.quiet,
        )
    except KeyboardInterrupt:
        print(f"interrupted; what was fetched is kept beside {out}: run the same command again to go on")
        return INTERRUPTED
    print(report)
    return 1 if report.is_fruitless else 0

"""`recbole-pixel convert`: raw data in, a data set with pictures out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_pixel.commands.convert_amazon import add_amazon
from recbole_pixel.commands.convert_rules import add_rules, rules

if TYPE_CHECKING:
    from recbole_pixel.convert import ItemSource, Options, Source
    from recbole_pixel.store import ImageSource

TABLE_EXAMPLE = (
    "example: recbole-pixel convert table --interactions log.csv --user uid --item sku --time at "
    "--items products.csv --item-key sku --item-columns title:token_seq,price:float --images photos/ --name shop"
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `convert` and its sources to the command line; `func` runs the chosen one."""
    convert = subparsers.add_parser("convert", help="make a data set of interactions, items and pictures")
    sources = convert.add_subparsers(title="sources", required=True, metavar="{pixelrec,amazon,table,ml-100k}")
    _add_pixelrec(sources)
    add_amazon(sources)
    _add_table(sources)
    _add_ml_100k(sources)


def _add_pixelrec(sources: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = sources.add_parser("pixelrec", help="PixelRec's csv files and covers")
    parser.add_argument(
        "--interactions", type=Path, required=True, metavar="CSV", help="with item_id, user_id, timestamp"
    )
    parser.add_argument(
        "--items", type=Path, metavar="CSV", help="the item info: item_id, title, tag, description, counts"
    )
    _add_images(parser)
    _add_output(parser)
    parser.set_defaults(func=run, source=_pixelrec)


def _add_table(sources: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = sources.add_parser("table", help="any CSV, TSV or Parquet files", epilog=TABLE_EXAMPLE)
    parser.add_argument("--interactions", type=Path, required=True, metavar="FILE", help="one row per interaction")
    parser.add_argument("--user", required=True, metavar="COL", help="column of user IDs")
    parser.add_argument("--item", required=True, metavar="COL", help="column of item IDs")
    parser.add_argument(
        "--time", metavar="COL", help="column of times, numbers or dates; without it the file order is the time"
    )
    parser.add_argument("--rating", metavar="COL", help="column of ratings, kept as rating:float")
    parser.add_argument("--items", type=Path, metavar="FILE", help="one row per item")
    parser.add_argument("--item-key", metavar="COL", help="its column of item IDs (default: as --item)")
    parser.add_argument(
        "--item-columns",
        default="",
        metavar="A,B:TYPE,...",
        help="its columns to keep, each NAME, NAME:TYPE or NAME:TYPE:SEPARATOR, e.g. brand,title:token_seq,price:float,"
        "genres:token_seq:|; types: token (default), token_seq, float, float_seq",
    )
    pictures = parser.add_mutually_exclusive_group()
    _add_images(pictures)
    pictures.add_argument("--image-column", metavar="COL", help="column of --items that names each item's picture file")
    parser.add_argument(
        "--image-root",
        type=Path,
        metavar="DIR",
        help="where those names start (default: beside --items); what leads out of it is refused",
    )
    parser.add_argument(
        "--separator", metavar="CHAR", help="between cells, tab for a tab (default: by the file's suffix)"
    )
    parser.add_argument(
        "--quote", default='"', metavar="CHAR", help="quoting character, none for none (default: %(default)s)"
    )
    parser.add_argument(
        "--header", metavar="A,B,...", help="column names of an interactions file without a header line"
    )
    parser.add_argument("--all-items", action="store_true", help="keep items of --items that have no interaction")
    _add_output(parser)
    parser.set_defaults(func=run, source=_table)


def _add_ml_100k(sources: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = sources.add_parser(
        "ml-100k", help="MovieLens-100K from RecBole's wheel, with drawn covers or your posters"
    )
    parser.add_argument(
        "--covers", type=Path, metavar="DIR", help="posters named ID.jpg; without it covers are drawn, none are shipped"
    )
    parser.add_argument(
        "--overviews", type=Path, metavar="CSV", help="what films are about, by item_id and overview: their description"
    )
    _add_output(parser)
    parser.set_defaults(func=run, source=_ml_100k)


def _add_images(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--images", type=Path, metavar="PATH", help="pictures named ITEM.jpg: a folder, ZIP, TAR or PixelRec's LMDB"
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    add_rules(parser)
    group = parser.add_argument_group("output")
    group.add_argument("--name", required=True, help="name of the data set")
    group.add_argument("--out", type=Path, metavar="DIR", help="folder of data sets (default: dataset_atomic)")
    group.add_argument("--skip-images", action="store_true", help="leave the pictures alone")
    group.add_argument(
        "--image-size",
        type=int,
        default=224,
        metavar="N",
        help="side of stored pictures in pixels (default: %(default)s)",
    )
    group.add_argument(
        "--image-fit",
        default="squash",
        choices=("squash", "crop", "pad"),
        help="how pictures become square (default: %(default)s)",
    )
    group.add_argument("--keep-original", action="store_true", help="store picture files as they are")
    group.add_argument("--quiet", action="store_true", help="no progress bar")


def run(arguments: argparse.Namespace) -> int:
    """Converts, and prints the summary; returns the exit code."""
    # Imported here: the other commands need neither polars nor Pillow to start.
    from recbole_pixel.convert import convert, summarise
    from recbole_pixel.convert.dataset import DEFAULT_OUT

    source = arguments.source(arguments)
    print(summarise(convert(source, arguments.name, arguments.out or DEFAULT_OUT, _options(arguments))))
    return 0


def _options(arguments: argparse.Namespace) -> Options:
    from recbole_pixel.convert import ImageOptions, Options

    images = ImageOptions(
        arguments.image_size, arguments.image_fit, arguments.keep_original, progress=not arguments.quiet
    )
    return Options(
        rules=rules(arguments),
        keep_unseen=getattr(arguments, "all_items", False),
        images=images,
    )


def _pixelrec(arguments: argparse.Namespace) -> Source:
    from recbole_pixel.convert import pixelrec_source

    return pixelrec_source(arguments.interactions, arguments.items, None if arguments.skip_images else arguments.images)


def _ml_100k(arguments: argparse.Namespace) -> Source:
    from recbole_pixel.convert import ml_100k_source

    return ml_100k_source(arguments.covers, with_images=not arguments.skip_images, overviews=arguments.overviews)


def _table(arguments: argparse.Namespace) -> Source:
    from recbole_pixel.convert import InteractionColumns, Source, SourceTable, named_by_column
    from recbole_pixel.store import open_source

    if arguments.items is None:
        needless = [flag for flag in ("item_key", "item_columns", "image_column") if getattr(arguments, flag)]
        if needless:
            raise ValueError(f"--{needless[0].replace('_', '-')} names a column of --items, which is not given")
    if arguments.image_root is not None and arguments.image_column is None:
        raise ValueError("--image-root is where the names of --image-column start, which is not given")
    items = None if arguments.items is None else _item_source(arguments)
    images: ImageSource | None = None
    if arguments.skip_images:
        pass
    elif arguments.image_column is not None and items is not None:
        images = named_by_column(items.table, items.key, arguments.image_column, arguments.image_root)
    elif arguments.images is not None:
        images = open_source(arguments.images)
    header = tuple(arguments.header.split(",")) if arguments.header else None
    table = SourceTable(arguments.interactions, _character(arguments.separator), header, _character(arguments.quote))
    columns = InteractionColumns(arguments.user, arguments.item, arguments.time, arguments.rating)
    return Source(table, columns, items, images)


def _item_source(arguments: argparse.Namespace) -> ItemSource:
    from recbole_pixel.convert import ItemColumn, ItemSource, SourceTable

    table = SourceTable(arguments.items, _character(arguments.separator), quote=_character(arguments.quote))
    columns = tuple(ItemColumn.parse(text) for text in arguments.item_columns.split(",") if text.strip())
    return ItemSource(table, arguments.item_key or arguments.item, columns)


def _character(text: str | None) -> str | None:
    return {"tab": "\t", "\\t": "\t", "none": None, "": None}.get(text or "", text)

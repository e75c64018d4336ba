"""The conversion itself, the same for every source: interactions, items and pictures into one folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from recbole_pixel.convert.dataset_folder import DatasetFolder
from recbole_pixel.convert.interactions import InteractionColumns, Interactions, write_interactions
from recbole_pixel.convert.items import Items, ItemSource, write_items
from recbole_pixel.convert.pictures import ImageOptions, Pictures, store_pictures
from recbole_pixel.convert.row_rules import RowRules
from recbole_pixel.convert.source_table import SourceTable
from recbole_pixel.store import ImageSource

DEFAULT_OUT = Path("dataset_atomic")


@dataclass(frozen=True)
class Source:
    """Everything a data set is made of.

    Args:
        interactions: the table of interactions.
        columns: which of its columns are what.
        items: the table of items, if there is one.
        images: the pictures, if there are any.
        notice: what the user should know about this source, one line each.
    """

    interactions: SourceTable
    columns: InteractionColumns
    items: ItemSource | None = None
    images: ImageSource | None = None
    notice: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options:
    """How a data set is written.

    Args:
        rules: which interactions are left out.
        keep_unseen: keep items of the items' table that have no interaction.
        images: how pictures are stored.
    """

    rules: RowRules = field(default_factory=RowRules)
    keep_unseen: bool = False
    images: ImageOptions = field(default_factory=ImageOptions)


@dataclass(frozen=True)
class Conversion:
    """What a conversion made.

    Attributes:
        path: the data set's folder.
        source: what it was made of.
        interactions: what is in NAME.inter, and what is not.
        items: what is in NAME.item, and what is not.
        pictures: what is in images.lmdb; None if the source has no pictures.
    """

    path: Path
    source: Source
    interactions: Interactions
    items: Items
    pictures: Pictures | None


def convert(source: Source, name: str, out: Path = DEFAULT_OUT, options: Options | None = None) -> Conversion:
    """Writes `out`/`name`: NAME.inter, NAME.item and images.lmdb.

    The files get their names when all are complete; an interrupted conversion changes none of them, except that
    pictures already decoded are kept aside and not decoded again.

    Args:
        source: what the data set is made of.
        name: the data set's name.
        out: the folder of data sets.
        options: how it is written.

    Raises:
        FileNotFoundError: a file of the source is not there.
        LookupError: a column is missing, or no picture belongs to an item.
        ValueError: a file of the source cannot be used, or the name cannot be a data set's.
    """
    options = options or Options()
    with DatasetFolder(out, name) as folder:
        interactions = write_interactions(
            source.interactions, source.columns, folder.part(".inter"), rules=options.rules
        )
        items = write_items(interactions.items, source.items, folder.part(".item"), keep_unseen=options.keep_unseen)
        pictures = None
        if source.images is not None:
            pictures = store_pictures(source.images, items.tokens, folder.images, options.images)
    return Conversion(folder.path, source, interactions, items, pictures)

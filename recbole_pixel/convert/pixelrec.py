"""PixelRec's files: Pixel200K.csv and its kin, the item info, the covers.

Ni et al., "An Image Dataset for Benchmarking Recommender Systems with Raw Pixels" (SDM 2024). The data are licensed for
non-commercial research; nothing of them is shipped here.
"""

from __future__ import annotations

from pathlib import Path

from recbole_pixel.convert.dataset import Source
from recbole_pixel.convert.interactions import InteractionColumns
from recbole_pixel.convert.items import FieldType, ItemColumn, ItemSource
from recbole_pixel.convert.source_table import SourceTable
from recbole_pixel.store import open_source

INFO_COLUMNS: dict[str, FieldType] = {
    "view_number": "float",
    "comment_number": "float",
    "thumbup_number": "float",
    "share_number": "float",
    "coin_number": "float",
    "favorite_number": "float",
    "barrage_number": "float",
    "title": "token_seq",
    "tag": "token",
    "description": "token_seq",
}
"""The columns of PixelRec's item info, with RecBole's types; those that a file has are kept."""


def pixelrec_source(interactions: Path, items: Path | None = None, images: Path | None = None) -> Source:
    """PixelRec's files as the source of a conversion.

    Args:
        interactions: a CSV with the columns item_id, user_id, timestamp.
        items: the item info, a CSV with item_id and any of `INFO_COLUMNS`.
        images: the covers, named ITEM.jpg: a folder, a ZIP or TAR archive, or PixelRec's own LMDB.

    Raises:
        FileNotFoundError: one of them is not there.
        ValueError: the item info is empty or cannot be read.
    """
    return Source(
        interactions=SourceTable(interactions),
        columns=InteractionColumns("user_id", "item_id", "timestamp"),
        items=None if items is None else _info(items),
        images=None if images is None else open_source(images),
    )


def _info(path: Path) -> ItemSource:
    table = SourceTable(path)
    present = table.columns()
    columns = tuple(ItemColumn(name, kind) for name, kind in INFO_COLUMNS.items() if name in present)
    return ItemSource(table, "item_id", columns)

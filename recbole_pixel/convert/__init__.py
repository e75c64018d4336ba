"""Raw data in, a RecBole data set with pictures out: NAME.inter, NAME.item, images.lmdb.

`convert(pixelrec_source(...), "pixel200k")`, `convert(ml_100k_source(), "ml-100k-covers")`, or, inside
`with amazon_source(...) as source`, `convert(source, "games")`; any other table is a `Source` of `SourceTable`s.
Nothing here imports torch or RecBole.
"""

from __future__ import annotations

from recbole_pixel.convert.amazon import amazon_source
from recbole_pixel.convert.dataset import Conversion, Options, Source, convert
from recbole_pixel.convert.interactions import InteractionColumns
from recbole_pixel.convert.items import ItemColumn, ItemSource
from recbole_pixel.convert.ml_100k import ml_100k_source
from recbole_pixel.convert.pictures import ImageOptions, named_by_column
from recbole_pixel.convert.pixelrec import pixelrec_source
from recbole_pixel.convert.row_rules import RowRules
from recbole_pixel.convert.source_table import SourceTable
from recbole_pixel.convert.summary import summarise

__all__ = [
    "Conversion",
    "ImageOptions",
    "InteractionColumns",
    "ItemColumn",
    "ItemSource",
    "Options",
    "RowRules",
    "Source",
    "SourceTable",
    "amazon_source",
    "convert",
    "ml_100k_source",
    "named_by_column",
    "pixelrec_source",
    "summarise",
]

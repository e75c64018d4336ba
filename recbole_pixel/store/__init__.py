"""Bytes on disk <-> arrays: pictures by item token (`ImageStore`), arrays by item token (`ArrayStore`).

No pickle is ever loaded from a store.
"""

from __future__ import annotations

from recbole_pixel.store.array_store import MEAN_TOKEN, ArrayStore, open_or_none
from recbole_pixel.store.array_writer import ArrayStoreWriter
from recbole_pixel.store.build import build_image_store
from recbole_pixel.store.build_report import BuildReport
from recbole_pixel.store.check import CheckReport, check_store, read_items
from recbole_pixel.store.check_arrays import ArrayCheck, array_stores, check_arrays, is_array_store
from recbole_pixel.store.contact_sheet import contact_sheet, random_tokens
from recbole_pixel.store.errors import MissingPictureError, PictureError, StoreError
from recbole_pixel.store.image_store import ImageStore
from recbole_pixel.store.picture import decode_image, encode_image
from recbole_pixel.store.source import ImageSource, open_source
from recbole_pixel.store.source_archive import TarSource, ZipSource
from recbole_pixel.store.source_folder import FileMapSource, FolderSource
from recbole_pixel.store.source_pixelrec import PixelRecSource

__all__ = [
    "MEAN_TOKEN",
    "ArrayCheck",
    "ArrayStore",
    "ArrayStoreWriter",
    "BuildReport",
    "CheckReport",
    "FileMapSource",
    "FolderSource",
    "ImageSource",
    "ImageStore",
    "MissingPictureError",
    "PictureError",
    "PixelRecSource",
    "StoreError",
    "TarSource",
    "ZipSource",
    "array_stores",
    "build_image_store",
    "check_arrays",
    "check_store",
    "contact_sheet",
    "decode_image",
    "encode_image",
    "is_array_store",
    "open_or_none",
    "open_source",
    "random_tokens",
    "read_items",
]

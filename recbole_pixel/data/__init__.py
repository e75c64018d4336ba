"""RecBole datasets and loaders: rows, batches that carry their items' inputs, prefetching."""

import recbole  # noqa: F401 - registers our models, which import this package: before a part of it is half imported

"""RecBole datasets and loaders: rows, batches that carry their items' inputs, prefetching."""

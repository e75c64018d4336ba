"""Frozen features of items: taken from an encoder, brought in from elsewhere, or quantised into semantic ids.

Everything lies in an ``ArrayStore``, keyed by item token, with ``provenance["kind"]`` saying what a record is:

* ``features``: float, shape (F,), or (P, C) for the P positions of a feature map; the record of ``MEAN_TOKEN``
  (:mod:`recbole_pixel.data.pictures`) is the mean over the items, which stands in for items without a picture;
* ``codes``: int32, shape (levels,), semantic ids, each from 0 to ``provenance["codes"]`` - 1; ``MEAN_TOKEN`` holds the
  codes of the mean feature;
* ``codebooks``: float32, shape (codes, F), the centroids of each level, with the tokens "0", "1", ... for the levels;
  it lies beside the codes, see :func:`recbole_pixel.features.quantize.codebooks_path`.
"""

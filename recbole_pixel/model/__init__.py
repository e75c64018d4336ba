"""Pixel models, in RecBole's own folders."""

import recbole  # noqa: F401 - registers our models, which import this package: before a part of it is half imported

"""Evaluation by RecBole's evaluator: histories masked, cold items ranked."""

import recbole  # noqa: F401 - registers our models, which import this package: before a part of it is half imported

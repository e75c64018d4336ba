"""Words that stand for nothing in a table's cell."""

from __future__ import annotations

MISSING_WORDS = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
"""What pandas reads as missing by default; an ID spelt so would be removed by RecBole with a warning at most."""

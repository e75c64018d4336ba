"""Refuses a store of features of another kind than a model reads."""

from __future__ import annotations

from typing import Any

import numpy as np

VECTORS = ("floats of shape (F,)", "`recbole-pixel features extract`")
COMPONENTS = ("floats of shape (P, C)", "`recbole-pixel features extract --shape spatial`")
CODES = ("integers of shape (levels,)", "`recbole-pixel features quantize`")


def check_stored(inputs: Any, wanted: tuple[str, str], reader: str) -> None:
    """Checks what an item's array is.

    Args:
        inputs: :class:`~recbole_pixel.data.pictures.StoredInputs`.
        wanted: :data:`VECTORS`, :data:`COMPONENTS` or :data:`CODES`.
        reader: the model, and the setting that makes it read this.

    Raises:
        ValueError: names both kinds, and the command that makes the right one.
    """
    is_code = np.issubdtype(inputs.dtype, np.integer)
    found = {(1, False): VECTORS, (2, False): COMPONENTS, (1, True): CODES}.get((len(inputs.shape), is_code))
    if found is not wanted:
        raise ValueError(
            f"`features` names {inputs.store.path}, an item of which is {inputs.dtype} of shape {inputs.shape}; "
            f"{reader} reads {wanted[0]}, as {wanted[1]} makes them"
        )

"""Which kind of stored features a model reads, and the refusal of any other."""

from __future__ import annotations

from typing import NamedTuple

from recbole_pixel.store import ArrayStore


class StoredKind(NamedTuple):
    """A kind of stored features.

    Attributes:
        array: what is stored of an item.
        command: what makes such a store.
        setting: the setting that makes a model read it, where it depends on one.
    """

    array: str
    command: str
    setting: str = ""


VECTORS = StoredKind("floats of shape (F,)", "`recbole-pixel features extract`")
COMPONENTS = StoredKind("floats of shape (P, C)", "`recbole-pixel features extract --shape spatial`")
CODES = StoredKind("integers of shape (levels,)", "`recbole-pixel features quantize`")


def check_stored(store: ArrayStore, wanted: StoredKind, model: str) -> None:
    """Checks what an item's array is.

    Args:
        store: what `features` names.
        wanted: what the model reads.
        model: its name.

    Raises:
        ValueError: names both kinds, and the command that makes the right one.
    """
    kind = {"u": "i"}.get(store.dtype.kind, store.dtype.kind)  # numpy's letters: unsigned, integer, float
    found = {(1, "f"): VECTORS, (2, "f"): COMPONENTS, (1, "i"): CODES}.get((len(store.shape), kind))
    if found is None or found.array != wanted.array:
        setting = f", {wanted.setting}," if wanted.setting else ""
        raise ValueError(
            f"`features` names {store.path}, an item of which is {store.dtype} of shape {store.shape}; "
            f"{model}{setting} reads {wanted.array}, as {wanted.command} makes them"
        )

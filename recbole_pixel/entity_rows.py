"""Which tensors of a model belong to single users or items, a row for each: they mean nothing for other ones."""

from __future__ import annotations

from typing import Any

from torch import nn


def rows_of_entities(model: Any) -> dict[str, str]:
    """By name, the tensors of a model that have a row for each user, or for each item beside its tower.

    Tables of users are embeddings outside the tower with as many rows as there are users, or one more; positions in a
    history may happen to be as many, and are none.
    """
    items = {
        name: "item"
        for name in model.state_dict()
        if any(name == place or name.startswith(f"{place}.") for place in getattr(model, "id_parameters", ()))
    }
    tower = getattr(model, "item_tower", None)
    of_tower = set(tower.modules()) if isinstance(tower, nn.Module) else set()
    users = {
        f"{name}.weight": "user"
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) and module not in of_tower and _is_of_users(model, name, module)
    }
    return users | items


def _is_of_users(model: Any, name: str, table: nn.Embedding) -> bool:
    n_users, n_rows = getattr(model, "user_count", None), table.num_embeddings
    if n_users is None or n_rows not in (n_users, n_users + 1):
        return False
    if "user" in name.lower() or "position" in name.lower():
        return "user" in name.lower()
    longest = getattr(model, "max_seq_length", None)
    may_be_positions = longest is not None and longest <= n_rows <= longest + 2
    return not may_be_positions or _reads_users(model)


def _reads_users(model: Any) -> bool:
    """Whether the model keeps how many users there are, as RecBole's do that have tables of them."""
    return hasattr(model, "n_users") or hasattr(model, "n_user")

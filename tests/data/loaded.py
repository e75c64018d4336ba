"""What a dataset is made of once it is read, and whether two readers agree on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from recbole.data.dataset import Dataset

from recbole_pixel.config import make_config
from recbole_pixel.data.atomic_faults import AtomicFileError
from recbole_pixel.data.fast_loading import FastLoading

HEADER = "user_id:token\titem_id:token\ttimestamp:float\n"
BODY = "u\ti\t3\nv\tj\t1\nu\tj\t2\n"


class FastDataset(FastLoading, Dataset):
    """RecBole's dataset, read by us."""


def config_of(settings: dict[str, Any], name: str = "w", **own: Any) -> Any:
    return make_config("BPR", name, settings={**settings, **own})


def snapshot(dataset: Any) -> dict[str, Any]:
    """All that later steps read of a loaded dataset."""
    feats = {name: getattr(dataset, name) for name in dataset.feat_name_list}
    return {
        "columns": {(name, field): feat[field].to_numpy() for name, feat in feats.items() for field in feat},
        "tokens": {field: (str(tokens.dtype), tokens.tolist()) for field, tokens in dataset.field2id_token.items()},
        "ids": {field: dict(ids) for field, ids in dataset.field2token_id.items()},
        "properties": (dataset.field2type, dataset.field2source, dataset.field2seqlen, dataset.field2bucketnum),
        "printed": str(dataset),
    }


def outcome(dataset_class: type, config: Any) -> Any:
    """A snapshot, or the error instead."""
    try:
        return snapshot(dataset_class(config))
    except Exception as error:
        return type(error), str(error)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) and isinstance(one[0], type):
        return bool(one == other)
    columns = [found["columns"] for found in (one, other)]
    return (
        columns[0].keys() == columns[1].keys()
        and all(same_values(columns[0][key], columns[1][key]) for key in columns[0])
        and all(one[key] == other[key] for key in one if key != "columns")
    )


def agree(ours: Any, theirs: Any) -> bool:
    """Whether both are the same; where RecBole fails to read, ours may say so better, and names the file."""
    if isinstance(ours, tuple) != isinstance(theirs, tuple):
        return False
    return same(ours, theirs) or (isinstance(ours, tuple) and ours[0] is AtomicFileError and "w.inter" in ours[1])


def same_values(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether columns are equal, those of sequences cell by cell."""
    if one.dtype != object:
        return np.array_equal(one, other)
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))

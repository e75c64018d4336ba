"""A mark of what a model trains on: a run goes on with the same interactions only."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import numpy as np

from recbole_pixel.checkpoint import rows_digest


def training_digest(loader: Any) -> str:
    """A digest of users, items, interactions in their order, and of how many batches ``loader`` makes of them.

    Args:
        loader: of the training part; RecBole's or ours.
    """
    dataset = loader._dataset
    digest = sha256(f"{len(loader)} {rows_digest(dataset, dataset.uid_field, dataset.iid_field)}".encode())
    histories = getattr(dataset, "histories", None)
    if histories is not None:
        columns = [histories.users, histories.items]
    else:
        columns = [dataset.inter_feat[field].numpy() for field in (dataset.uid_field, dataset.iid_field)]
    for column in columns:
        digest.update(np.ascontiguousarray(np.asarray(column)).view(np.uint8).data)
    return digest.hexdigest()

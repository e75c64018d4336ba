"""What RecBole's sampler of sequential models keeps for each user: nothing."""

from __future__ import annotations

from typing import Any

import numpy as np


def shared_empty_sets(n_users: int) -> np.ndarray[Any, Any]:
    """As many empty sets as users, all of them one object: objects (n_users,), read-only.

    recbole/sampler/sampler.py, ``RepeatableSampler.get_used_ids``, makes one of 216 bytes for each user, for validation
    and for test; ``sample_by_user_ids`` puts others in their place before it draws.
    """
    one = np.empty(1, object)
    one[0] = frozenset()
    return np.broadcast_to(one, (n_users,))

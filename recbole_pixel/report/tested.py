"""What runs of one comparison were tested on: the same users and items, or the comparison is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from recbole_pixel.evaluation.per_user import PerUser, read_per_user
from recbole_pixel.report.kept_runs import KeptRuns, print_json
from recbole_pixel.report.runs import Job, make_run


def per_user_file(folder: Path, key: str) -> Path:
    """Where the results of a run's users lie."""
    return folder / "per_user" / f"{key}.npz"


def make_tested(job: Job, folder: Path) -> dict[str, Any]:
    """The result of a run; its users' results are written below ``folder``, what it was tested on is in ``cases``."""
    path = per_user_file(folder, job.key)
    entry = make_run(job, per_user=str(path))
    return {**entry, "cases": cases_digest(read_per_user(path))}


def kept_tested(folder: Path, keys: Iterable[str], say: Callable[[Mapping[str, Any]], None] = print_json) -> KeptRuns:
    """The runs kept below ``folder``; of ``keys``, those whose users' results are gone are to be made anew."""
    runs = KeptRuns(folder / "runs.jsonl", ("key",), say)
    for key in keys:
        if not per_user_file(folder, key).is_file():
            runs.forget(key)
    return runs


def cases_digest(found: PerUser) -> str:
    """A digest of the users and what was to be found for each, whatever their order."""
    return sha256("\n".join(_cases(found)).encode()).hexdigest()[:16]


def _cases(found: PerUser) -> list[str]:
    users = found.users[found.target_user]
    return sorted(f"{user}\t{item}" for user, item in zip(users, found.targets, strict=True))


def check_same_cases(entries: Mapping[str, Sequence[Mapping[str, Any]]], folder: Path) -> None:
    """Checks that rows with the same seed were tested on the same.

    Args:
        entries: results of each row.
        folder: as of :func:`make_tested`.

    Raises:
        ValueError: two were not; names them, and what is in only one.
    """
    first: dict[int, tuple[str, Mapping[str, Any]]] = {}
    for label, runs in entries.items():
        for entry in runs:
            other, known = first.setdefault(entry["seed"], (label, entry))
            if entry["cases"] != known["cases"]:
                raise ValueError(_difference(other, known, label, entry, folder))


def _difference(label: str, entry: Mapping[str, Any], other: str, another: Mapping[str, Any], folder: Path) -> str:
    one, two = (set(_cases(read_per_user(per_user_file(folder, run["key"])))) for run in (entry, another))
    example = "".join(f", such as user {case.replace(chr(9), ' with item ')}" for case in sorted(one ^ two)[:1])
    return (
        f"{label} and {other}, seed {entry['seed']}, were not tested on the same: {len(one):,} and {len(two):,} "
        f"targets, {len(one ^ two):,} of them in one test only{example}; their results cannot be compared. Give all "
        f"models the same eval_args, cold_items, missing_image and missing_text"
    )


def user_means(files: Iterable[PerUser], metric: str) -> np.ndarray:
    """Each user's mean over runs, in the order of the sorted tokens, (V,).

    Users whom not all runs tested (splits at random) count with those that did.
    """
    found = [one.by_user(metric) for one in files]
    _, place = np.unique(np.concatenate([users for users, _ in found]), return_inverse=True)
    return np.bincount(place, np.concatenate([values for _, values in found])) / np.bincount(place)

"""What runs of one comparison were tested on: the same users and items, or the comparison is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from recbole_pixel.evaluation.cold_cases import cold_tokens
from recbole_pixel.evaluation.per_user import PerUser, read_per_user
from recbole_pixel.quick_start import Trained
from recbole_pixel.report.kept_runs import KeptRuns, print_json
from recbole_pixel.report.runs import Job, make_run


def per_user_file(folder: Path, key: str) -> Path:
    """Where the results of a run's users lie."""
    return folder / "per_user" / f"{key}.npz"


def make_tested(job: Job, folder: Path) -> dict[str, Any]:
    """The result of a run; its users' results are written below ``folder``.

    What it was tested on is in ``cases``, and among what the items to be found were ranked in ``among``.
    """
    path, among = per_user_file(folder, job.key), dict[str, Any]()
    entry = make_run(job, then=lambda _, trained: among.update(_shortened(ranked_among(trained))), per_user=str(path))
    return {**entry, "cases": cases_digest(read_per_user(path)), "among": among}


def kept_tested(folder: Path, keys: Iterable[str], say: Callable[[Mapping[str, Any]], None] = print_json) -> KeptRuns:
    """The runs kept below ``folder``; of ``keys``, those whose users' results are gone are to be made anew.

    So are those that do not say among what they ranked, which earlier versions kept.
    """
    runs = KeptRuns(folder / "runs.jsonl", ("key",), say)
    for key in keys:
        if not per_user_file(folder, key).is_file() or "among" not in (runs.get(key) or {}):
            runs.forget(key)
    return runs


def ranked_among(trained: Trained) -> dict[str, Any]:
    """How many items there are, by which mode of evaluation they are ranked, and which are held out of training."""
    config, training = trained.config, trained.parts[0]
    held_out = sorted(cold_tokens(training).tolist())
    return {"items": int(training.item_num), "mode": str(config["eval_args"]["mode"]), "cold items": held_out}


def _shortened(among: Mapping[str, Any]) -> dict[str, Any]:
    """The same with a digest in place of tokens, of which there may be many."""
    held_out = among["cold items"]
    digest = sha256("\n".join(held_out).encode()).hexdigest()[:8]
    return {**among, "cold items": f"{len(held_out)} ({digest})" if held_out else "none"}


def cases_digest(found: PerUser) -> str:
    """A digest of the users and what was to be found for each, whatever their order."""
    return sha256("\n".join(_cases(found)).encode()).hexdigest()[:16]


def _cases(found: PerUser) -> list[str]:
    users = found.users[found.target_user]
    return sorted(f"{user}\t{item}" for user, item in zip(users, found.targets, strict=True))


def check_same_cases(entries: Mapping[str, Sequence[Mapping[str, Any]]], folder: Path) -> None:
    """Checks that rows with the same seed were tested on the same, ranked among the same.

    Args:
        entries: results of each row.
        folder: as of :func:`make_tested`.

    Raises:
        ValueError: two were not; names them, and what differs.
    """
    first: dict[int, tuple[str, Mapping[str, Any]]] = {}
    for label, runs in entries.items():
        for entry in runs:
            other, known = first.setdefault(entry["seed"], (label, entry))
            if differences := [*_other_cases(known, entry, folder), *_ranked_otherwise(known, entry)]:
                raise ValueError(
                    f"{other} and {label}, seed {entry['seed']}, were not tested on the same: "
                    f"{'; '.join(differences)}; their results cannot be compared. Give all models the same eval_args, "
                    f"cold_items, missing_image and missing_text"
                )


def _other_cases(entry: Mapping[str, Any], another: Mapping[str, Any], folder: Path) -> Iterator[str]:
    if entry["cases"] == another["cases"]:
        return
    one, two = (set(_cases(read_per_user(per_user_file(folder, run["key"])))) for run in (entry, another))
    example = "".join(f", such as user {case.replace(chr(9), ' with item ')}" for case in sorted(one ^ two)[:1])
    yield f"{len(one):,} and {len(two):,} targets, {len(one ^ two):,} of them in one test only{example}"


def _ranked_otherwise(entry: Mapping[str, Any], another: Mapping[str, Any]) -> Iterator[str]:
    for name, value in entry["among"].items():
        if another["among"][name] != value:
            yield f"{name} {value} and {another['among'][name]}"


def user_means(files: Iterable[PerUser], metric: str) -> np.ndarray:
    """Each user's mean over runs, in the order of the sorted tokens, (V,).

    Users whom not all runs tested (splits at random) count with those that did.
    """
    found = [one.by_user(metric) for one in files]
    _, place = np.unique(np.concatenate([users for users, _ in found]), return_inverse=True)
    return np.bincount(place, np.concatenate([values for _, values in found])) / np.bincount(place)

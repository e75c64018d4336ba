"""What the page of a run shows: each part found on its own, so that one that cannot be is left out with the reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from logging import getLogger
from typing import Any, NamedTuple

import numpy as np
from recbole.evaluator.register import smaller_metrics

from recbole_pixel.evaluation.cold_cases import cold_tokens
from recbole_pixel.evaluation.training_counts import training_counts
from recbole_pixel.quick_start import Trained
from recbole_pixel.report.page.asking import Asked, asked_of
from recbole_pixel.report.page.cases import Cases, cases_of
from recbole_pixel.report.page.item_map import ItemMap, item_map
from recbole_pixel.report.page.neighbours import Near, neighbours_of, tokens_in
from recbole_pixel.report.page.pictures import SmallFaces, shape_of
from recbole_pixel.serve.page.faces import Covers


class Contents(NamedTuple):
    """What the model says, in the form of the page.

    Attributes:
        covers: titles and pictures of all items that are shown as cards.
        shape: width by height of their pictures.
        has_pictures: whether any has one.
        map: of items; None where there is none, with a reason below.
        cases: users.
        near: neighbours of items.
        missing: why a part is not there, by its name.
    """

    covers: Covers
    shape: float
    has_pictures: bool
    map: ItemMap | None
    cases: Cases | None
    near: list[Near]
    missing: dict[str, str]


def contents_of(trained: Trained) -> Contents:
    """Asks the model of a run for all that its page shows of users and items."""
    training, missing = trained.parts[0], dict[str, str]()
    asked = asked_of(trained)
    recommender = asked.recommender
    counts = training_counts(training)[1:]
    faces = SmallFaces(recommender.faces)
    drawn = _part("map", lambda: item_map(recommender, faces, counts), missing)
    cases = _part("cases", lambda: _cases(asked, trained), missing)
    near = _part("near", lambda: neighbours_of(recommender, counts, cold_tokens(training)), missing) or []
    tokens = [*(cases.tokens() if cases else ()), *tokens_in(near)]
    some = [picture for token in dict.fromkeys(tokens) if (picture := faces.picture(token)) is not None]
    return Contents(Covers(faces, tokens), shape_of(some), bool(some), drawn, cases, near, missing)


def _cases(asked: Asked, trained: Trained) -> Cases:
    if trained.each is None:
        raise NotImplementedError("the run's metrics rank no items")
    return cases_of(*asked, trained.each)


def _part(name: str, make: Callable[[], Any], missing: dict[str, str]) -> Any:
    """What ``make`` makes; None, and the reason in ``missing``, where it cannot."""
    try:
        return make()
    except NotImplementedError as error:
        missing[name] = str(error)
    except Exception as error:  # a page without one of its parts is better than none
        getLogger().debug(f"the report has no {name}", exc_info=True)
        missing[name] = f"{type(error).__name__}: {error}"
    return None


class Row(NamedTuple):
    """A line of the final table.

    Attributes:
        label: what was run.
        kind: ``run``, ``other`` or ``baseline``.
        test: its metrics.
        trained: parameters that learnt.
        epochs: how many; None where that is not known.
        seconds: of training; likewise.
        seed: of the run.
    """

    label: str
    kind: str
    test: Mapping[str, float]
    trained: int
    epochs: int | None
    seconds: float | None
    seed: int


def table_rows(label: str, result: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The run, other runs, and baselines by the first metric, the best first; those without it last.

    Args:
        label: of the run.
        result: of it.
        others: with ``label`` and ``kind`` each.
    """
    every = [_row({**result, "label": label, "kind": "run"}), *map(_row, others)]
    first = next(iter(result["test"]), "")
    sign = 1 if first.partition("@")[0] in smaller_metrics else -1
    return sorted(every, key=lambda row: sign * row.test.get(first, sign * np.inf))


def _row(entry: Mapping[str, Any]) -> Row:
    return Row(
        entry["label"], entry["kind"], entry["test"], entry["parameters"]["trained"], entry["epochs"],
        entry["seconds"], entry["seed"],
    )  # fmt: skip

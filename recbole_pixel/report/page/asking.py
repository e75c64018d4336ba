"""A run's model, asked as its test evaluation asked it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from recbole_pixel.quick_start import Trained
from recbole_pixel.report.page.ranking import Ranking
from recbole_pixel.serve.histories import known_histories
from recbole_pixel.serve.known_users import KnownUsers
from recbole_pixel.serve.page.faces import faces_of
from recbole_pixel.serve.reading_items import new_items_of
from recbole_pixel.serve.recommender import Recommender
from recbole_pixel.serve.scoring import Scorer
from recbole_pixel.serve.tokens import Tokens
from recbole_pixel.serve.vector_space import item_tower_of


class Asked(NamedTuple):
    """Ways to ask the model that a run has in memory; of users it knows what they consumed before their test targets.

    Attributes:
        recommender: its answers.
        ranking: what the test evaluation ranked by.
    """

    recommender: Recommender
    ranking: Ranking


def asked_of(trained: Trained) -> Asked:
    """Answers of a run's model."""
    config, training = trained.config, trained.parts[0]
    with _encoded_once(trained.model):
        scorer = Scorer(trained.model, training, config["device"])
    users, items = (
        Tokens(kind, training.field2id_token[field])
        for kind, field in (("user", training.uid_field), ("item", training.iid_field))
    )
    histories = known_histories(trained.parts, "train")
    known = KnownUsers(users, histories, scorer.is_sequential, scorer.rows_at_once)
    recommender = Recommender(
        scorer, known, items, partial(new_items_of, config, training, trained.model), partial(faces_of, config)
    )
    return Asked(recommender, Ranking(scorer, known, items, config, getattr(training, "cold", None)))


@contextmanager
def _encoded_once(model: Any) -> Iterator[None]:
    """Keeps the items' vectors that the evaluation made; where several ranks trained, this one is alone by now."""
    tower = item_tower_of(model)
    if tower is None:
        yield
        return
    tower.shares_table = tower.shares_steps = False
    with tower.keeping_table():
        yield

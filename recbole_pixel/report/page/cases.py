"""Users, what they consumed, what the model recommends to them, and what they consumed next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from recbole_pixel.evaluation.per_user import PerUser
from recbole_pixel.report.page.ranking import Ranking
from recbole_pixel.serve.recommender import Recommender

N_SAMPLED, N_EXTREME = 6, 3
SHOWN = 10  # items of a history, and recommendations
TRIED = 2**22  # scores of users among whom the worst case is looked for
SEED = 11


class Case(NamedTuple):
    """A user of the test.

    Attributes:
        user: token.
        history: the newest items, the newest first.
        more: older ones that are not shown.
        items: what is recommended, the best first.
        targets: what was to be found.
        rank: of the best of these, from 1, among all that the test evaluation ranked.
        n_ranked: how many these are.
        n_consumed: how often that target was consumed in training.
    """

    user: str
    history: list[str]
    more: int
    items: list[str]
    targets: list[str]
    rank: int
    n_ranked: int
    n_consumed: int

    @property
    def missed(self) -> list[str]:
        """Targets that are not among the items shown."""
        return [target for target in self.targets if target not in self.items]


class Cases(NamedTuple):
    """Cases by what they are to show."""

    sampled: list[Case]
    best: list[Case]
    worst: list[Case]

    def tokens(self) -> Iterable[str]:
        """Of all items that are shown."""
        for case in (*self.sampled, *self.best, *self.worst):
            yield from (*case.history, *case.items, *case.targets[:SHOWN])


class _Test(NamedTuple):
    """A user's targets, their ranks (0: beyond the cut-off) and how often they were consumed in training."""

    targets: list[str]
    ranks: np.ndarray
    counts: np.ndarray


def cases_of(recommender: Recommender, ranking: Ranking, each: PerUser) -> Cases:
    """Users drawn at random, and those whose test targets stood highest and lowest.

    Among the best are those whose target was found first though it had been rare in training; the worst are looked for
    among some hundred users whose target was missed.
    """
    tests = _tests(each, set(recommender.users))
    rng = np.random.default_rng(SEED)
    users = [str(user) for user in rng.permutation(sorted(tests))]
    found = [user for user in users if tests[user].ranks.max(initial=0) > 0]
    found.sort(key=lambda user: min((rank, count) for rank, count in zip(*tests[user][1:], strict=True) if rank))
    missed = [user for user in users if tests[user].ranks.max(initial=0) == 0]
    tried = missed[: max(N_EXTREME, TRIED // max(1, len(recommender.items)))][:300]
    lowest = sorted(_cases(recommender, ranking, tests, tried), key=lambda case: -case.rank / case.n_ranked)
    return Cases(
        _cases(recommender, ranking, tests, users[:N_SAMPLED]),
        _cases(recommender, ranking, tests, found[:N_EXTREME]),
        lowest[:N_EXTREME],
    )


def _tests(each: PerUser, served: set[str]) -> dict[str, _Test]:
    """By user: of those who were ranked for several times, the first one, which their history leads to."""
    bounds = np.searchsorted(each.target_user, np.arange(len(each.users) + 1))
    tests: dict[str, _Test] = {}
    for number, user in enumerate(each.users.tolist()):
        part = slice(bounds[number], bounds[number + 1])
        if user not in tests and user in served and part.stop > part.start:
            tests[user] = _Test(each.targets[part].tolist(), each.ranks[part], each.counts[part])
    return tests


def _cases(recommender: Recommender, ranking: Ranking, tests: Mapping[str, _Test], users: list[str]) -> list[Case]:
    if not users:
        return []
    place = {token: number for number, token in enumerate(recommender.items)}
    cases = []
    found = ranking.scores(users, [tests[user].targets for user in users])
    for user, scores in zip(users, found, strict=True):
        history, test = recommender.history(user), tests[user]
        own = scores[[place[target] for target in test.targets]]
        best = int(np.argmax(own))
        top = np.argsort(-scores, kind="stable")[:SHOWN]
        items = [recommender.items[number] for number in top if scores[number] > -np.inf]
        rank, newest = int((scores > own[best]).sum()) + 1, history[::-1]
        n_ranked = int((scores > -np.inf).sum())
        more = max(0, len(newest) - SHOWN)
        cases.append(Case(user, newest[:SHOWN], more, items, test.targets, rank, n_ranked, int(test.counts[best])))
    return cases

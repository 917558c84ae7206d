"""Do the labels of a set agree with its images? Found out inside the set, so that a day on which everybody moves
otherwise, which no judge of other days can tell from mixed-up labels, does not matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
import pandas as pd

from validation.measures.learning import Labelled, random_places, recognised
from validation.measures.recognition import effective_count, wilson_interval

FOLDS, DRAWS = 5, 5
#: Windows of a user below which a set says nothing of that user.
FEWEST = 20
TOGETHER = "all of them"


@dataclass(frozen=True)
class Agreement:
    """Share of a set's images whose label the others of the set give them, mean over users, with Wilson's interval.

    real: the same by set of real images, as many of each user. per_user: index user, columns agreement, high (upper
    bound) and real (the least of real sets).
    """

    share: float
    low: float
    high: float
    real: dict[str, float]
    per_user: pd.DataFrame

    @property
    def usual(self) -> float:
        """The least that a real set reaches."""
        return min(self.real.values())


def label_agreement(
    synthetic: Labelled, real: Mapping[str, Labelled], users: Sequence[str], rng: np.random.Generator
) -> Agreement | None:
    """`synthetic` beside the sets of `real`, each alone and all together, for a set may be of more days than one.

    Of the `users` with `FEWEST` images in `synthetic` and in that set of `real` which knows most users so well; sets
    that know fewer do not take part alone. None where fewer than two users are left.
    """
    enough = {name: _known(data) for name, data in real.items()}
    known = _known(synthetic) & max(enough.values(), key=len, default=set())
    users = [user for user in users if user in known]
    if len(users) < 2:
        return None
    synthetic, real = _of_users(synthetic, users), {name: _of_users(data, users) for name, data in real.items()}
    able = {name: data for name, data in real.items() if enough[name].issuperset(users)}
    each = min(_fewest(data) for data in (synthetic, *able.values()))
    sets = able | {TOGETHER: reduce(add, real.values())}
    usual = pd.DataFrame({name: cross_validated(data, each, rng).reindex(users) for name, data in sets.items()})
    found = cross_validated(synthetic, each, rng).reindex(users)
    counts = pd.Series(synthetic.users).value_counts().reindex(users)
    high = [wilson_interval(share, counts[user])[1] for user, share in found.items()]
    low, top = wilson_interval(float(found.mean()), effective_count(counts))
    per_user = pd.DataFrame({"agreement": found, "high": high, "real": usual.min(axis=1)})
    return Agreement(float(found.mean()), low, top, {str(k): float(v) for k, v in usual.mean().items()}, per_user)


def cross_validated(data: Labelled, each: int, rng: np.random.Generator) -> pd.Series:
    """Accuracy by user of a linear discriminant on the fold it has not learned from, in random draws of `each` images
    of a user."""
    found = []
    for _ in range(DRAWS):
        drawn = data.select(random_places(data.users, rng) < each)
        fold, right = random_places(drawn.users, rng) % FOLDS, np.zeros(len(drawn.users), bool)
        for number in range(FOLDS):
            right[fold == number] = recognised(drawn.select(fold != number), drawn.select(fold == number))[0]
        found.append(pd.Series(right.astype(float)).groupby(drawn.users).mean())
    return pd.concat(found, axis=1).mean(axis=1)


def _known(data: Labelled) -> set[str]:
    """Users with `FEWEST` images."""
    users, counts = np.unique(data.users, return_counts=True)
    return set(users[counts >= FEWEST].tolist())


def _of_users(data: Labelled, users: Sequence[str]) -> Labelled:
    return data.select(np.isin(data.users, users))


def _fewest(data: Labelled) -> int:
    return int(np.unique(data.users, return_counts=True)[1].min())

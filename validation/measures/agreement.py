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
#: Windows of every user below which a set says nothing.
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

    None where `synthetic`, or every one of `real`, has fewer than `FEWEST` images of one of `users`.
    """
    able = {name: data for name, data in real.items() if _fewest(data, users) >= FEWEST}
    if not able or _fewest(synthetic, users) < FEWEST:
        return None
    each = min(_fewest(data, users) for data in (synthetic, *able.values()))
    sets = able | {TOGETHER: reduce(add, real.values())}
    known = pd.DataFrame({name: cross_validated(data, each, rng).reindex(users) for name, data in sets.items()})
    found = cross_validated(synthetic, each, rng).reindex(users)
    counts = pd.Series(synthetic.users).value_counts().reindex(users)
    high = [wilson_interval(share, counts[user])[1] for user, share in found.items()]
    low, top = wilson_interval(float(found.mean()), effective_count(counts))
    per_user = pd.DataFrame({"agreement": found, "high": high, "real": known.min(axis=1)})
    return Agreement(float(found.mean()), low, top, {str(k): float(v) for k, v in known.mean().items()}, per_user)


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


def _fewest(data: Labelled, users: Sequence[str]) -> int:
    return min(int((data.users == user).sum()) for user in users)

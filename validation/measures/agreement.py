"""Do the labels of a set agree with its images? Found out inside the set, so that a day on which everybody moves
otherwise, which no judge of other days can tell from mixed-up labels, does not matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
import pandas as pd

from mdgen.data.dataset import START_COLUMN
from mdgen.data.splits import GUARD
from validation.measures.learning import Labelled, random_places, recognised
from validation.measures.recognition import effective_count, wilson_interval
from validation.measures.resampling import Interval

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

    share: Interval
    real: dict[str, Interval]
    per_user: pd.DataFrame

    @property
    def usual(self) -> Interval:
        """The least that a real set reaches."""
        return min(self.real.values(), key=lambda found: found.value)

    @property
    def highest_ratio(self) -> float:
        """Upper bound of the share over the usual one, which is no surer than its images are many: in logarithms, the
        distances of both from their bounds add as squares (Zou & Donner 2008)."""
        made, high, real, low = np.log(
            np.maximum([self.share.value, self.share.high, self.usual.value, self.usual.low], 1e-9)
        )
        return float(np.exp(made - real + np.hypot(high - made, real - low)))


def label_agreement(
    synthetic: Labelled,
    real: Mapping[str, Labelled],
    users: Sequence[str],
    rng: np.random.Generator,
    folds: Mapping[str, np.ndarray] | None = None,
) -> Agreement | None:
    """`synthetic` beside the sets of `real`, each alone and all together, for a set may be of more days than one.

    folds: `folds_in_time` of each of `real`; at random, as those of `synthetic`, where its windows do not overlap.
    Of the `users` with `FEWEST` images in `synthetic` and in that set of `real` which knows most users so well; sets
    that know fewer do not take part alone. None where fewer than two users are left.
    """
    enough = {name: _known(data) for name, data in real.items()}
    known = _known(synthetic) & max(enough.values(), key=len, default=set())
    users = [user for user in users if user in known]
    if len(users) < 2:
        return None
    able = {name: data for name, data in real.items() if enough[name].issuperset(users)}
    each = min(_fewest(data, users) for data in (synthetic, *able.values()))
    sets = able | {TOGETHER: reduce(add, real.values())}
    parts = {**folds, TOGETHER: np.concatenate([folds[name] for name in real])} if folds else {}
    usual = pd.DataFrame({k: cross_validated(data, users, each, rng, parts.get(k)) for k, data in sets.items()})
    found = cross_validated(synthetic, users, each, rng)
    counts = _counts(synthetic, users)
    high = [wilson_interval(share, counts[user])[1] for user, share in found.items()]
    per_user = pd.DataFrame({"agreement": found, "high": high, "real": usual.min(axis=1)})
    shares = {name: _mean_share(usual[name], _counts(data, users)) for name, data in sets.items()}
    return Agreement(_mean_share(found, counts), shares, per_user)


def cross_validated(
    data: Labelled, users: Sequence[str], each: int, rng: np.random.Generator, folds: np.ndarray | None = None
) -> pd.Series:
    """Accuracy of each of `users` by a linear discriminant on the fold it has not learned from, in random draws of
    `each` images of a user. folds: int [N], dealt at random in each draw where None."""
    found, known = [], np.isin(data.users, users)
    for _ in range(DRAWS):
        rows = known & (random_places(data.users, rng) < each)
        drawn = data.select(rows)
        fold = random_places(drawn.users, rng) % FOLDS if folds is None else folds[rows]
        right = np.zeros(len(drawn.users), bool)
        for number in range(FOLDS):
            right[fold == number] = recognised(drawn.select(fold != number), drawn.select(fold == number))[0]
        found.append(pd.Series(right.astype(float)).groupby(drawn.users).mean())
    return pd.concat(found, axis=1).mean(axis=1).reindex(users)


def folds_in_time(table: pd.DataFrame) -> np.ndarray:
    """int [N]: a fold of each row. Every session of a user is cut into `FOLDS` runs of consecutive windows, for windows
    that overlap know each other; into fewer where these would be shorter than the overlap of neighbours reaches."""
    order = [column for column in ("user", "session", "recording", START_COLUMN) if column in table]
    rows = table.reset_index(drop=True).sort_values(order, kind="stable")
    sessions = rows.groupby(["user", "session"])
    length = np.maximum(-(-sessions["user"].transform("size") // FOLDS), GUARD + 1)
    return ((sessions.cumcount() // length + sessions.ngroup()) % FOLDS).sort_index().to_numpy()


def _mean_share(shares: pd.Series, counts: pd.Series) -> Interval:
    """Mean over users, with Wilson's interval for as many images as they have."""
    mean = float(shares.mean())
    return Interval(mean, *wilson_interval(mean, effective_count(counts)))


def _counts(data: Labelled, users: Sequence[str]) -> pd.Series:
    return pd.Series(data.users).value_counts().reindex(users)


def _known(data: Labelled) -> set[str]:
    """Users with `FEWEST` images."""
    users, counts = np.unique(data.users, return_counts=True)
    return set(users[counts >= FEWEST].tolist())


def _fewest(data: Labelled, users: Sequence[str]) -> int:
    return min(int((data.users == user).sum()) for user in users)

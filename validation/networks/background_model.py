"""What real rows teach about backgrounds: who is recognised by them, and how far sessions of one user differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from mdgen.data.dataset import ROLES, SpectrogramSet
from validation.measures.background import NAMES, Layout, background, fixed_pattern, quiet_pixels
from validation.measures.resampling import users_interval
from validation.sets import ENOUGH_IMAGES, judges_role

WITHIN_LEAST, WITHIN_MOST = 6, 20  #: images per user when identity is sought within one recording
MIN_PER_SESSION = 5
TOLERANCE = 0.05  #: of level; 1 dB of a range of 40 dB is not a shortcut
PATTERN_TOLERANCE = 0.02  #: of the lasting level of a row or block
PATTERN = "fixed pattern"


@dataclass(frozen=True)
class Shifts:
    """Distance of a background from real sessions, in standard deviations between sessions of one user.

    table: index statistic, columns value, ci_low, ci_high: mean over users with its interval. per_user: the greatest
    absolute distance, index user, and in `per_user_of` of what.
    """

    table: pd.DataFrame
    per_user: pd.Series
    per_user_of: pd.Series


@dataclass(frozen=True)
class Within:
    """Accuracy per user (index) of models trained on half of a set's background and tested on the other half, from
    `count` images per user."""

    accuracy: pd.Series
    count: int

    @property
    def mean(self) -> float:
        return float(self.accuracy.mean())


@dataclass(frozen=True)
class Described:
    """A set's background. statistics: [N, 17]. quiet: pixels of quiet rows [N, Q, W]. levels: mean over time [N, H]."""

    statistics: np.ndarray
    quiet: np.ndarray
    levels: np.ndarray
    users: np.ndarray

    def users_with(self, least: int) -> np.ndarray:
        """Users with at least so many images."""
        users, counts = np.unique(self.users, return_counts=True)
        return users[counts >= least]

    @property
    def judgeable(self) -> np.ndarray:
        """Users with enough images to be judged by themselves."""
        return self.users_with(ENOUGH_IMAGES)

    def middle(self, rows: np.ndarray) -> np.ndarray:
        """Mean of the statistics of `rows`, and their fixed pattern: [17 + P]."""
        return np.concatenate([self.statistics[rows].mean(axis=0), fixed_pattern(self.quiet[rows])])


class RealBackground:
    """Learned from real rows alone. judge: rows to train on. rows: all with a role, of the judged users.

    test, unseen: accuracy by background per user on role test, and on all roles not trained on. sessions: distance of
    each real session from the others of its user, as in `Shifts.per_user`.
    """

    def __init__(self, judge: SpectrogramSet, rows: SpectrogramSet, seed: int) -> None:
        self.layout, self.seed = Layout.of(judge), seed
        self.real = self.describe(rows)
        self.roles = rows.table["split"].to_numpy(str)
        self._units = rows.groups.str.cat(rows.table["split"], sep="\x1f").to_numpy(str)
        self.model = forest(seed).fit(background(judge.images, self.layout), judge.table["user"].to_numpy(str))
        learned = self.roles == judges_role(self.roles)
        self.test, self.unseen = self._accuracy(self.roles == "test"), self._accuracy(~learned)
        self._homes = {user: self._session_middles(user) for user in np.unique(self.real.users)}
        homes = list(self._homes.values())
        away = np.concatenate([m - others_mean(m) for m in homes if len(m) > 1] or [0 * homes[0]])
        tolerance = np.where(np.arange(away.shape[1]) < len(NAMES), TOLERANCE, PATTERN_TOLERANCE)
        self._spread = np.sqrt(away.var(axis=0) + tolerance**2)
        self.sessions = np.abs(away / self._spread).max(axis=1)
        self._level_spread = self._spread_within_units()

    def describe(self, data: SpectrogramSet) -> Described:
        """The background of any set of the same shape."""
        images, users = data.images, data.table["user"].to_numpy(str)
        levels = images.mean(axis=(1, 3), dtype=np.float64)
        return Described(background(images, self.layout), quiet_pixels(images, self.layout), levels, users)

    def transfer(self, found: Described) -> pd.Series:
        """Share of each user's images recognised by a model of role judge's background."""
        return accuracy(self.model, found.statistics, found.users)

    def shifts(self, found: Described) -> Shifts:
        """How far from their users' real sessions the images lie."""
        users = found.judgeable
        middles = np.array([found.middle(found.users == user) for user in users])
        away = (middles - np.array([self._homes[user].mean(axis=0) for user in users])) / self._spread
        statistics, pattern = away[:, : len(NAMES)], away[:, len(NAMES) :]
        strongest = pattern[:, np.abs(pattern.mean(axis=0)).argmax()]
        columns = [*statistics.T, strongest * np.sign(strongest.mean())]
        table = pd.DataFrame(
            [(column.mean(), *users_interval(column, 0.0)) for column in columns],
            index=[*NAMES, PATTERN], columns=["value", "ci_low", "ci_high"],
        )  # fmt: skip
        what = [[*NAMES, PATTERN][min(i, len(NAMES))] for i in np.abs(away).argmax(axis=1)]
        return Shifts(table, pd.Series(np.abs(away).max(axis=1), index=users), pd.Series(what, index=users))

    def within(self, users: np.ndarray) -> Within | None:
        """Identity within one recording per user, those of `users` with images enough: of the roles that know most of
        them the best. What a session alone gives away."""
        found = []
        for role in ROLES:
            rows = np.flatnonzero((self.roles == role) & np.isin(self.real.users, users))
            largest = pd.Series(self._units[rows]).groupby(self.real.users[rows]).agg(commonest)
            rows = rows[np.isin(self._units[rows], largest.to_numpy())]
            found.append(identity_within(self.real.statistics[rows], self.real.users[rows], WITHIN_MOST, self.seed))
        known = (within for within in found if within is not None)
        return max(known, key=lambda within: (len(within.accuracy), within.mean), default=None)

    def level_spread(self, found: Described) -> pd.Series:
        """How much the mean level of a row differs between images of a user, over the same within real recordings.

        The median over the half of the rows where real ones differ most. 1 is right; 0: a profile was planted.
        """
        active = self._level_spread >= np.median(self._level_spread)
        ratios = {
            user: np.median(found.levels[found.users == user].std(axis=0)[active] / self._level_spread[active])
            for user in found.judgeable
        }
        return pd.Series(ratios, dtype=float)

    def _accuracy(self, rows: np.ndarray) -> pd.Series:
        return accuracy(self.model, self.real.statistics[rows], self.real.users[rows])

    def _session_middles(self, user: str) -> np.ndarray:
        units, counts = np.unique(self._units[self.real.users == user], return_counts=True)
        long = units[counts >= min(MIN_PER_SESSION, counts.max())]
        return np.array([self.real.middle(self._units == unit) for unit in long])

    def _spread_within_units(self) -> np.ndarray:
        """[H]: standard deviation of the rows' mean levels between images of one recording; of one user where every
        image is a recording of its own, as photographs are."""
        whose = self._units if pd.Series(self._units).duplicated().any() else self.real.users
        variances = pd.DataFrame(self.real.levels).groupby(whose).var().dropna()  # none where there is one image
        return np.sqrt(variances.mean().to_numpy()) + 1e-6


def forest(seed: int) -> ExtraTreesClassifier:
    """The small model (Geurts et al. 2006)."""
    return ExtraTreesClassifier(60, min_samples_leaf=2, random_state=seed)


def accuracy(model: ExtraTreesClassifier, features: np.ndarray, users: np.ndarray) -> pd.Series:
    """Share of each user's rows that `model` recognises, index user."""
    return pd.Series((model.predict(features) == users).astype(float)).groupby(users).mean()


def identity_within(features: np.ndarray, users: np.ndarray, most: int, seed: int, repeats: int = 3) -> Within | None:
    """Two-fold cross-validated accuracy per user from equally many rows (at most `most`) of each.

    features: [N, D]. Users with fewer than six rows are left out; None where fewer than two users have more.
    """
    sizes = pd.Series(users).value_counts().loc[lambda size: size >= WITHIN_LEAST]
    if len(sizes) < 2:
        return None
    count = min(most, int(sizes.min()))
    rng, found = np.random.default_rng(seed), []
    for repeat in range(repeats):
        rows = np.concatenate([rng.choice(np.flatnonzero(users == user), count, replace=False) for user in sizes.index])
        folds = StratifiedKFold(2, shuffle=True, random_state=seed + repeat)
        right = cross_val_predict(forest(seed), features[rows], users[rows], cv=folds) == users[rows]
        found.append(pd.Series(right.astype(float)).groupby(users[rows]).mean())
    return Within(pd.concat(found, axis=1).mean(axis=1), count)


def others_mean(means: np.ndarray) -> np.ndarray:
    """For each row of [S, D] the mean of the other rows; S is at least 2."""
    return (means.sum(axis=0) - means) / (len(means) - 1)


def commonest(values: pd.Series) -> str:
    """The value that occurs most."""
    return str(values.value_counts().index[0])

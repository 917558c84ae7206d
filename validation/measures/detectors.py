"""Detectors of known alterations: how one is trained on real images alone, and calibrated on sessions it has not seen.

A detector learns to tell genuine real images from the same images altered, both with the small imperfections any
generator has. What an alteration does may depend on the person (a hand that moves to the left, reversed, is no hand
that moves to the right, reversed): where one detector for everybody is not sure, there is one for each person. The
direction of time has a detector of its own kind, which looks at nothing but what reversal turns into its opposite.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.covariance import ledoit_wolf
from sklearn.feature_selection import f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from validation.measures.arrow import Arrow, directions
from validation.measures.tampering import Alteration

CAN_TELL = 0.75  #: area under the curve on one user's held-out images from which a detector of its own is heard
MAX_SPREAD = 0.25  #: of one user's sessions, so that "no direction at all", 0.5, is two deviations away
REVERSED = "time reversed"
PENALTY = 0.03  #: inverse strength of the L2 penalty, as in scikit-learn
BY_CHANCE = 1e-3  #: p-value above which a feature is not held to be changed by an alteration


@dataclass(frozen=True)
class Rows:
    """Images [N, C, H, W] with the user and the unit (session, recording and role) of each."""

    images: np.ndarray
    users: np.ndarray
    units: np.ndarray

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: np.ndarray) -> Rows:
        return Rows(self.images[rows], self.users[rows], self.units[rows])

    def __add__(self, other: Rows) -> Rows:
        parts = ((self.images, other.images), (self.users, other.users), (self.units, other.units))
        return Rows(*(np.concatenate(pair) for pair in parts))

    def altered(self, alteration: Alteration, rng: np.random.Generator) -> np.ndarray:
        """The images altered, user by user in random order: what needs a second window takes one of the same user."""
        images = np.empty_like(self.images)
        for user in np.unique(self.users):
            order = rng.permutation(np.flatnonzero(self.users == user))
            images[order] = alteration(self.images[order], rng)
        return images


class ForEverybody:
    """One logistic regression for all users, on the features that the alteration changes: however strange images are in
    others, that does not make them altered in this way."""

    def __init__(self, genuine: np.ndarray, altered: np.ndarray) -> None:
        features, labels = np.concatenate([genuine, altered]), np.r_[np.zeros(len(genuine)), np.ones(len(altered))]
        changed = np.ptp(features, axis=0) > 0
        changed[changed] = f_classif(features[:, changed], labels)[1] < BY_CHANCE
        self._changed = changed if changed.any() else np.ones_like(changed)
        self._model = LogisticRegression(C=PENALTY, max_iter=200).fit(features[:, self._changed], labels)

    def scores(self, features: np.ndarray, users: np.ndarray) -> np.ndarray:
        """Probability that each row of `features` [N, D] is altered."""
        return self._model.predict_proba(features[:, self._changed])[:, 1]


class ForEach:
    """A linear discriminant for each user, with the covariance of all, shrunk (Ledoit and Wolf 2004)."""

    def __init__(self, genuine: np.ndarray, altered: np.ndarray, users: np.ndarray) -> None:
        names, codes = np.unique(users, return_inverse=True)
        means = [
            np.stack([rows[codes == code].mean(axis=0) for code in range(len(names))]) for rows in (genuine, altered)
        ]
        rest = np.concatenate([genuine - means[0][codes], altered - means[1][codes]])
        weights = np.linalg.solve(ledoit_wolf(rest, assume_centered=True)[0], (means[1] - means[0]).T).T
        self._planes = dict(zip(names, zip(weights, (means[0] + means[1]) / 2, strict=True), strict=True))

    def scores(self, features: np.ndarray, users: np.ndarray) -> np.ndarray:
        """As of `ForEverybody`; 0.5 for users it has not met."""
        found = np.zeros(len(features))
        for user, (weights, middle) in self._planes.items():
            found[users == user] = (features[users == user] - middle) @ weights
        return expit(found)


@dataclass(frozen=True)
class Detector:
    """Tells images altered in one way from genuine ones.

    zero, gap: by user, its mean score on held-out real images, and how much greater it is on the same altered; NaN for
    users of whom it cannot tell. auc: on the same images of the other users. sessions: positions of the real sessions
    it has not seen, 0 being expected for each. turns: whether the alteration turns a score p into 1 - p, so that a
    position of 0.5 is neither and any beyond it is more like altered images than like real ones.
    """

    name: str
    model: ForEverybody | ForEach | Arrow
    zero: pd.Series
    gap: pd.Series
    auc: float
    sessions: np.ndarray
    turns: bool = False

    @property
    def spread(self) -> float:
        """Standard deviation of the positions of real sessions."""
        return float(self.sessions.std())

    @property
    def blind(self) -> list[str]:
        """Users of whom it cannot tell."""
        return [str(user) for user in self.gap.index[self.gap.isna()]]


def for_everybody(
    name: str, model: ForEverybody, sessions: tuple[np.ndarray, Rows], altered: np.ndarray, users: np.ndarray
) -> Detector:
    """The detector with one zero and one gap. altered: features of the last rows of `sessions`, of `users`, altered."""
    features, known = sessions
    scores, changed = model.scores(features, known.users), model.scores(altered, users)
    real = scores[-len(users) :]
    zero, everybody = float(means_by(real, users).mean()), np.unique(known.users)
    gap = max(float(means_by(changed, users).mean()) - zero, 1e-3)
    places = (means_by(scores, known.units).to_numpy() - zero) / gap
    return Detector(name, model, pd.Series(zero, everybody), pd.Series(gap, everybody), _auc(real, changed), places)


def for_each(
    name: str, model: ForEach, sessions: tuple[np.ndarray, Rows], altered: np.ndarray, users: np.ndarray
) -> Detector | None:
    """The detector with a zero and a gap for every user of whom it can tell; None where it can of fewer than two."""
    features, known = sessions
    scores, changed = model.scores(features, known.users), model.scores(altered, users)
    real = scores[-len(users) :]
    able = [user for user in np.unique(users) if _auc(real[users == user], changed[users == user]) >= CAN_TELL]
    if len(able) < 2:
        return None
    units = pd.Series(scores).groupby([known.users, known.units]).mean()
    zero = units.groupby(level=0).mean()
    gap = (means_by(changed, users) - zero).where(zero.index.isin(able))
    places = ((units - zero.reindex(units.index, level=0)) / gap.reindex(units.index, level=0)).dropna()
    told = np.isin(users, able)
    return Detector(name, model, zero, gap, _auc(real[told], changed[told]), places.to_numpy())


def for_direction(arrow: Arrow, unseen: Rows) -> Detector:
    """The detector of reversed time from real rows that `arrow` has not seen, with the users of whom it can tell.

    Its mean score on the reversed rows is one less that on the rows themselves: the zero settles the gap.
    """
    scores = arrow.scores(directions(unseen.images), unseen.users)
    units = pd.Series(scores).groupby([unseen.users, unseen.units]).mean()
    zero = units.groupby(level=0).mean()
    gap = (1 - 2 * zero).clip(lower=1e-3)
    places = (units - zero.reindex(units.index, level=0)) / gap.reindex(units.index, level=0)
    spread = places.groupby(level=0).std().fillna(places.std()).fillna(0)
    each = {user: scores[unseen.users == user] for user in zero.index}
    able = [user for user in zero.index if spread[user] <= MAX_SPREAD and _auc(each[user], 1 - each[user]) >= CAN_TELL]
    told = scores[np.isin(unseen.users, able or list(each))]
    return Detector(
        REVERSED, arrow, zero, gap.where(zero.index.isin(able)) if able else gap, _auc(told, 1 - told),
        places[places.index.isin(able or list(each), level=0)].to_numpy(), turns=True,
    )  # fmt: skip


def _auc(genuine: np.ndarray, altered: np.ndarray) -> float:
    return float(roc_auc_score(np.repeat([0, 1], [len(genuine), len(altered)]), np.concatenate([genuine, altered])))


def means_by(scores: np.ndarray, labels: np.ndarray) -> pd.Series:
    """Mean of `scores` [N] by label [N]."""
    return pd.Series(scores).groupby(labels).mean()

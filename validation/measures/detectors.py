"""Detectors of known alterations, trained on real images alone, and where a set stands between real and altered.

A detector learns to tell genuine real images from the same images altered, both with the small imperfections any
generator has. Features are taken relative to the user's own real sessions, so that a slow walker is not taken for a
slowed one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from mdgen.data.dataset import SpectrogramSet
from validation.measures.fingerprints import fingerprint
from validation.measures.tampering import ALTERATIONS, Alteration, tolerated
from validation.networks.network import shrink

MAX_LEARN = 400
CLIP = 4.0  #: standard deviations; one odd feature cannot outvote all others
PENALTY = 0.03  #: inverse strength of the L2 penalty, as in scikit-learn


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

    def altered(self, alteration: Alteration, rng: np.random.Generator) -> np.ndarray:
        """The images altered, user by user in random order: what needs a second window takes one of the same user."""
        images = np.empty_like(self.images)
        for user in np.unique(self.users):
            order = rng.permutation(np.flatnonzero(self.users == user))
            images[order] = alteration(self.images[order], rng)
        return images


@dataclass(frozen=True)
class Detector:
    """Tells images altered in one way from genuine ones.

    zero, one: its mean scores, over users, on held-out real images and on the same altered. auc: on the same images.
    sessions: positions of the real sessions it has not seen, 0 being expected for each.
    """

    name: str
    model: LogisticRegression
    zero: float
    one: float
    auc: float
    sessions: np.ndarray

    @property
    def spread(self) -> float:
        """Standard deviation of the positions of real sessions."""
        return float(self.sessions.std())


@dataclass(frozen=True)
class Position:
    """Where the synthetic set stands between real (0) and altered (1), by one detector. per_user: index user."""

    detector: Detector
    value: float
    ci_low: float
    ci_high: float
    per_user: pd.Series

    @property
    def name(self) -> str:
        return self.detector.name


class Homes:
    """Where the real sessions of each user lie in feature space; images are described relative to them."""

    def __init__(self, features: np.ndarray, rows: Rows) -> None:
        known = sorted(set(zip(rows.users, rows.units, strict=True)))
        self._means = {key: features[(rows.users == key[0]) & (rows.units == key[1])].mean(axis=0) for key in known}

    def away(self, features: np.ndarray, rows: Rows) -> np.ndarray:
        """Features minus the mean over the user's sessions other than the row's own, where there are others: [N, D]."""
        found = np.empty_like(features)
        for user, unit in set(zip(rows.users, rows.units, strict=True)):
            others = [mean for (who, where), mean in self._means.items() if who == user and where != unit]
            mine = (rows.users == user) & (rows.units == unit)
            found[mine] = features[mine] - np.mean(others or [self._means[(user, unit)]], axis=0)
        return found


class Bank:
    """One detector for each alteration, trained on real rows.

    reference: rows of roles train, judge and val. learn: bool [len(reference)], those to train on. test: held out.
    """

    def __init__(self, reference: Rows, learn: np.ndarray, test: Rows, rng: np.random.Generator) -> None:
        features = fingerprint(reference.images)
        self._homes = Homes(features, reference)
        pupils = reference.take(sample_rows(np.flatnonzero(learn), MAX_LEARN, rng))
        genuine = self._homes.away(fingerprint(tolerated(pupils.images, rng)), pupils)
        self._scale = genuine.std(axis=0) + 1e-6
        unseen = reference.take(np.flatnonzero(~learn))
        sessions = np.concatenate([self._scaled(self._homes.away(features[~learn], unseen)), self.describe(test)])
        units = np.concatenate([unseen.units, test.units])
        self.detectors = [
            self._train(name, self._scaled(genuine), pupils, test, (sessions, units), rng) for name in ALTERATIONS
        ]

    def describe(self, rows: Rows, images: np.ndarray | None = None) -> np.ndarray:
        """Features of `rows` (of other `images`, if given) in standard deviations from their users' homes: [N, D]."""
        return self._scaled(self._homes.away(fingerprint(rows.images if images is None else images), rows))

    def place(self, rows: Rows) -> list[Position]:
        """Where `rows` stand, by every detector."""
        features = self.describe(rows)
        return [_placed(detector, _by(_scores(detector.model, features), rows.users)) for detector in self.detectors]

    def _train(
        self, name: str, genuine: np.ndarray, pupils: Rows, test: Rows,
        sessions: tuple[np.ndarray, np.ndarray], rng: np.random.Generator,
    ) -> Detector:  # fmt: skip
        altered = self.describe(pupils, tolerated(pupils.altered(ALTERATIONS[name], rng), rng))
        model = _fit(genuine, altered)
        features, units = sessions
        scores = _scores(model, features)
        real, fake = scores[-len(test) :], _scores(model, self.describe(test, test.altered(ALTERATIONS[name], rng)))
        zero, one = (float(_by(found, test.users).mean()) for found in (real, fake))
        auc = roc_auc_score(np.repeat([0, 1], len(test)), np.concatenate([real, fake]))
        return Detector(name, model, zero, one, float(auc), (_by(scores, units).to_numpy() - zero) / _gap(zero, one))

    def _scaled(self, features: np.ndarray) -> np.ndarray:
        return (features / self._scale).clip(-CLIP, CLIP)


def interval(values: np.ndarray, spread: float, confidence: float = 0.95) -> tuple[float, float]:
    """Student's interval of the mean of `values`, one per user, whose zero is itself uncertain by `spread` per user."""
    count = len(values)
    variance = (values.var(ddof=1) if count > 1 else spread**2) + spread**2
    margin = student.ppf(0.5 + confidence / 2, max(count - 1, 1)) * np.sqrt(variance / count)
    return float(values.mean() - margin), float(values.mean() + margin)


def rows_of(data: SpectrogramSet, size: int) -> Rows:
    """The images averaged down to `size` pixels a side, with users and units."""
    units = data.groups.str.cat(data.table["split"], sep="\x1f").to_numpy(str)
    return Rows(shrink(data.images, size), data.table["user"].to_numpy(str), units)


def _placed(detector: Detector, scores: pd.Series) -> Position:
    per_user = (scores - detector.zero) / _gap(detector.zero, detector.one)
    low, high = interval(per_user.to_numpy(), detector.spread)
    return Position(detector, float(per_user.mean()), low, high, per_user)


def _gap(zero: float, one: float) -> float:
    return max(one - zero, 1e-3)


def _fit(genuine: np.ndarray, altered: np.ndarray) -> LogisticRegression:
    labels = np.r_[np.zeros(len(genuine)), np.ones(len(altered))]
    return LogisticRegression(C=PENALTY, max_iter=200).fit(np.concatenate([genuine, altered]), labels)


def _scores(detector: LogisticRegression, features: np.ndarray) -> np.ndarray:
    return detector.predict_proba(features)[:, 1]


def _by(scores: np.ndarray, labels: np.ndarray) -> pd.Series:
    return pd.Series(scores).groupby(labels).mean()


def sample_rows(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """At most `most` of `rows`, in their order."""
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))

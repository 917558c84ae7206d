"""Where a set stands between real images and the same images altered, by one detector for each known alteration.

Features are taken relative to the user's own real sessions, so that a slow walker is not taken for a slowed one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mdgen.data.dataset import SpectrogramSet
from validation.measures.arrow import Arrow, directions
from validation.measures.detectors import (
    REVERSED,
    Detector,
    ForEach,
    ForEverybody,
    Rows,
    for_direction,
    for_each,
    for_everybody,
    means_by,
)
from validation.measures.fingerprints import fingerprint
from validation.measures.resampling import users_interval
from validation.measures.tampering import ALTERATIONS, tolerated
from validation.networks.network import shrink

MAX_LEARN = 400
MAX_DIRECTED = 1200  #: images from which the direction of time is learned: its features are cheap
CLIP = 4.0  #: standard deviations; one odd feature cannot outvote all others


@dataclass(frozen=True)
class Position:
    """Where the synthetic set stands between real (0) and altered (1), by one detector.

    per_user, errors, counts: position, its standard error over the user's images, and their number, index user.
    """

    detector: Detector
    value: float
    ci_low: float
    ci_high: float
    per_user: pd.Series
    errors: pd.Series
    counts: pd.Series

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
    enough: area under the curve with which one detector for everybody will do.
    """

    def __init__(
        self, reference: Rows, learn: np.ndarray, test: Rows, rng: np.random.Generator, enough: float = 0.95
    ) -> None:
        features = fingerprint(reference.images)
        self._homes = Homes(features, reference)
        pupils = reference.take(sample_rows(np.flatnonzero(learn), MAX_LEARN, rng))
        genuine = self._homes.away(fingerprint(tolerated(pupils.images, rng)), pupils)
        self._scale = genuine.std(axis=0) + 1e-6
        unseen = reference.take(np.flatnonzero(~learn))
        sessions = np.concatenate([self._scaled(self._homes.away(features[~learn], unseen)), self.describe(test)])
        known = (sessions, unseen + test)
        directed = reference.take(sample_rows(np.flatnonzero(learn), MAX_DIRECTED, rng))
        arrow = Arrow(directions(tolerated(directed.images, rng)), directed.users)
        self.detectors = [
            for_direction(arrow, unseen + test)
            if name == REVERSED
            else self._train(name, self._scaled(genuine), pupils, test, known, rng, enough)
            for name in ALTERATIONS
        ]

    def describe(self, rows: Rows, images: np.ndarray | None = None) -> np.ndarray:
        """Features of `rows` (of other `images`, if given) in standard deviations from their users' homes: [N, D]."""
        return self._scaled(self._homes.away(fingerprint(rows.images if images is None else images), rows))

    def place(self, rows: Rows) -> list[Position]:
        """Where `rows` stand, by every detector."""
        features, directed = self.describe(rows), directions(rows.images)
        return [
            placed(d, d.model.scores(directed if isinstance(d.model, Arrow) else features, rows.users), rows.users)
            for d in self.detectors
        ]

    def _train(
        self, name: str, genuine: np.ndarray, pupils: Rows, test: Rows,
        sessions: tuple[np.ndarray, Rows], rng: np.random.Generator, enough: float,
    ) -> Detector:  # fmt: skip
        altered = self.describe(pupils, tolerated(pupils.altered(ALTERATIONS[name], rng), rng))
        held_out = self.describe(test, test.altered(ALTERATIONS[name], rng))
        detector = for_everybody(name, ForEverybody(genuine, altered), sessions, held_out, test.users)
        if detector.auc >= enough:
            return detector
        return for_each(name, ForEach(genuine, altered, pupils.users), sessions, held_out, test.users) or detector

    def _scaled(self, features: np.ndarray) -> np.ndarray:
        return (features / self._scale).clip(-CLIP, CLIP)


def rows_of(data: SpectrogramSet, size: int) -> Rows:
    """The images averaged down to `size` pixels a side, with users and units."""
    units = data.groups.str.cat(data.table["split"], sep="\x1f").to_numpy(str)
    return Rows(shrink(data.images, size), data.table["user"].to_numpy(str), units)


def placed(detector: Detector, scores: np.ndarray, users: np.ndarray) -> Position:
    """Where images of `users` [N] with these scores of `detector` [N] stand."""
    per_user = (means_by(scores, users) - detector.zero) / detector.gap
    by_user = pd.Series(scores).groupby(users)
    errors = by_user.sem().fillna(1) / detector.gap
    told = per_user.dropna().to_numpy()
    low, high = users_interval(told, detector.spread)
    return Position(detector, float(told.mean()), low, high, per_user, errors, by_user.size())


def sample_rows(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """At most `most` of `rows`, in their order."""
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))

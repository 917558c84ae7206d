"""Scores of pairs and the error rates drawn from them, on plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve


@dataclass(frozen=True)
class ScoreSet:
    """Similarities of enrolment (or other) rows [n] with probe rows [m]: scores [n, m], and the user of each row."""

    scores: np.ndarray
    users_a: np.ndarray
    users_b: np.ndarray

    @property
    def genuine(self) -> np.ndarray:
        """Scores of pairs of one person."""
        return self.scores[self.users_a[:, None] == self.users_b[None, :]]

    @property
    def impostor(self) -> np.ndarray:
        """Scores of pairs of two persons."""
        return self.scores[self.users_a[:, None] != self.users_b[None, :]]

    def equal_error_rate(self, counts: dict[str, int] | None = None) -> float:
        """Error rate, in [0, 1], where false accepts equal false rejects; higher scores mean the same person.

        Every user is counted as often as `counts` says (1 each by default). Linear between the two points of the ROC
        around the crossing. NaN without genuine or without impostor pairs.
        """
        a, b, same, ends = self._ranking
        weight_a, weight_b = (
            np.ones(len(users), np.int64) if counts is None else np.array([counts.get(u, 0) for u in users], np.int64)
            for users in (self.users_a, self.users_b)
        )
        # A user drawn twice must not become an impostor of itself, and gives two, not four, genuine sets.
        weights = weight_b[b]
        genuine = np.where(same, weights, 0).cumsum()[ends]
        impostor = np.where(same, 0, weights * weight_a[a]).cumsum()[ends]
        if not genuine[-1] or not impostor[-1]:
            return float("nan")
        false_accept, true_accept = (np.r_[0, counted / counted[-1]] for counted in (impostor, genuine))
        gap = false_accept - (1 - true_accept)  # rises from -1 to 1
        after = int(np.argmax(gap >= 0))
        before = after - 1
        share = -gap[before] / (gap[after] - gap[before])
        return float(false_accept[before] + share * (false_accept[after] - false_accept[before]))

    @cached_property
    def _ranking(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Rows a and b of all pairs from the most alike on, whether they are of one person, and where a score ends."""
        order = np.argsort(-self.scores, axis=None)
        a, b = np.unravel_index(order, self.scores.shape)
        _, number = np.unique(np.r_[self.users_a, self.users_b], return_inverse=True)
        same = number[: len(self.users_a)][a] == number[len(self.users_a) :][b]
        return a, b, same, np.flatnonzero(np.diff(self.scores.ravel()[order], append=np.nan))


def area_under_roc(genuine: np.ndarray, impostor: np.ndarray) -> float:
    """Probability that a genuine score exceeds an impostor score."""
    labels = np.r_[np.ones(len(genuine)), np.zeros(len(impostor))]
    return float(roc_auc_score(labels, np.r_[genuine, impostor]))


def cosine_scores(a: np.ndarray, users_a: np.ndarray, b: np.ndarray, users_b: np.ndarray) -> ScoreSet:
    """Scores between unit vectors `a` [n, D] and `b` [m, D]."""
    return ScoreSet((a @ b.T).astype(np.float32), np.asarray(users_a), np.asarray(users_b))


def true_accept_rate(scores: ScoreSet, false_accept_rate: float) -> float:
    """Share of genuine pairs accepted where `false_accept_rate` of the impostors are (TAR@FAR), in [0, 1]."""
    if not scores.genuine.size or not scores.impostor.size:
        return float("nan")
    return float((scores.genuine > np.quantile(scores.impostor, 1 - false_accept_rate)).mean())


def equal_error_threshold(scores: ScoreSet) -> float:
    """The similarity at which false accepts and false rejects of these pairs are equal, as nearly as they get."""
    labels = np.r_[np.ones(scores.genuine.size), np.zeros(scores.impostor.size)]
    false_accept, true_accept, thresholds = roc_curve(labels, np.r_[scores.genuine, scores.impostor])
    return float(thresholds[np.argmin(np.abs(false_accept - (1 - true_accept)))])


def error_rates_at(scores: ScoreSet, threshold: float) -> tuple[float, float]:
    """(false accept rate, false reject rate) at a similarity fixed beforehand."""
    return float((scores.impostor >= threshold).mean()), float((scores.genuine < threshold).mean())

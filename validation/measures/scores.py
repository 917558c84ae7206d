"""Scores of pairs and the error rates drawn from them, on plain arrays."""

from __future__ import annotations

from dataclasses import dataclass

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
        """EER with every user counted as often as `counts` says (1 each by default)."""
        same = self.users_a[:, None] == self.users_b[None, :]
        if counts is None:
            return equal_error_rate(self.scores[same], self.scores[~same])
        weight_a = np.array([counts.get(u, 0) for u in self.users_a], float)
        weight_b = np.array([counts.get(u, 0) for u in self.users_b], float)
        # A user drawn twice must not become an impostor of itself, and gives two, not four, genuine sets.
        weights = np.where(same, weight_b[None, :], weight_a[:, None] * weight_b[None, :])
        used = weights > 0
        return equal_error_rate(
            self.scores[same & used], self.scores[~same & used], weights[same & used], weights[~same & used]
        )


def equal_error_rate(
    genuine: np.ndarray,
    impostor: np.ndarray,
    genuine_weight: np.ndarray | None = None,
    impostor_weight: np.ndarray | None = None,
) -> float:
    """Error rate where false accepts equal false rejects, in [0, 1]; higher scores mean the same person.

    Linear between the two points of the ROC around the crossing. NaN when either set is empty.
    """
    if not len(genuine) or not len(impostor):
        return float("nan")
    labels = np.r_[np.ones(len(genuine)), np.zeros(len(impostor))]
    weights = None
    if genuine_weight is not None and impostor_weight is not None:
        weights = np.r_[genuine_weight, impostor_weight]
    false_accept, true_accept, _ = roc_curve(labels, np.r_[genuine, impostor], sample_weight=weights)
    gap = false_accept - (1 - true_accept)  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))
    before = after - 1
    share = -gap[before] / (gap[after] - gap[before])
    return float(false_accept[before] + share * (false_accept[after] - false_accept[before]))


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

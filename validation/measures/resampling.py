"""Intervals for means over users, whose windows stand or fall together with their recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


def macro_intervals(
    scores: np.ndarray, users: np.ndarray, groups: np.ndarray, rng: np.random.Generator, draws: int = 200
) -> tuple[Interval, Interval]:
    """Mean over users of the mean over their windows, with two hierarchical bootstraps (Davison and Hinkley 1997, 3.8).

    scores: [seeds, N], or differences of two such arrays for a paired comparison. users, groups: [N]; windows of one
    group (recording) are drawn together. First with the groups of each user and the seeds drawn with replacement: what
    is known about these users and these training sets. Then with the users drawn too: what would hold had other days
    of theirs, or other users, been trained on. One group of a user does not tell how another would differ: there the
    windows are drawn, and, since these are too alike, the users in the first interval too, which is then the second.
    """
    scores = np.asarray(scores, float)
    names = np.unique(users)
    seeds = rng.integers(len(scores), size=(draws, len(scores)))
    drawn, means, alone = np.empty((draws, len(names))), np.empty(len(names)), False
    for k, name in enumerate(names):
        own = users == name
        means[k] = scores[:, own].mean()
        code = np.unique(groups[own], return_inverse=True)[1]
        if code.max() == 0:
            code, alone = np.arange(len(code)), True
        sizes = np.bincount(code)
        sums = np.array([np.bincount(code, row) for row in scores[:, own]])  # (seeds, groups)
        picked = rng.integers(len(sizes), size=(draws, len(sizes)))
        total = sums[seeds[:, :, None], picked[:, None, :]].sum(axis=(1, 2))
        drawn[:, k] = total / (len(scores) * sizes[picked].sum(axis=1))
    weights = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws) / len(names)
    value = float(means.mean())
    bounds = [np.quantile(mean, [0.025, 0.975]) for mean in (drawn.mean(axis=1), (drawn * weights).sum(axis=1))]
    here, elsewhere = (Interval(value, float(low), float(high)) for low, high in bounds)
    return elsewhere if alone else here, elsewhere


def users_interval(values: np.ndarray, spread: float, confidence: float = 0.95) -> tuple[float, float]:
    """Student's interval of the mean of `values`, one per user, whose zero is itself uncertain by `spread` per user."""
    count = len(values)
    variance = (values.var(ddof=1) if count > 1 else spread**2) + spread**2
    margin = student.ppf(0.5 + confidence / 2, max(count - 1, 1)) * np.sqrt(variance / count)
    return float(values.mean() - margin), float(values.mean() + margin)

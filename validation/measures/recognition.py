"""Who judges say is on the images: accuracy per user with intervals, and the confusion between users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import ndtri
from sklearn.metrics import confusion_matrix

from mdgen.data.dataset import SpectrogramSet
from validation.networks.judge import Judge


@dataclass(frozen=True)
class Recognition:
    """Accuracy of several judges on one set.

    per_user: one row per user with columns accuracy, ci_low, ci_high, n (images, not images x judges). macro: mean
    over users, with its Wilson interval at the `effective_count`. seed_macros: macro accuracy of each judge.
    confusion: float [users, classes], rows sum to 1, means over judges. sessions: accuracy by (user, session).
    rivals: float [users, users], share of a user's images (rows) that look more like another (columns) than like them.
    """

    per_user: pd.DataFrame
    macro: float
    interval: tuple[float, float]
    n: int
    seed_macros: list[float]
    confusion: np.ndarray
    sessions: pd.Series
    rivals: np.ndarray


def recognise(judges: Sequence[Judge], data: SpectrogramSet, users: Sequence[str]) -> Recognition:
    """Pool the predictions of `judges` on the rows of `data` that belong to `users`."""
    truth = data.table["user"].to_numpy()
    classes = np.asarray(judges[0].classes_)
    probabilities = np.array([judge.predict_proba(data.images) for judge in judges])  # (judges, N, classes)
    predictions = classes[probabilities.argmax(axis=2)]  # (judges, N)
    right = predictions == truth
    by_seed = [pd.Series(r.astype(float)).groupby(truth).mean().reindex(users) for r in right]
    share = pd.Series(right.mean(axis=0)).groupby(truth)
    accuracy, count = share.mean().reindex(users), share.size().reindex(users, fill_value=0)
    bounds = [wilson_interval(p, n) for p, n in zip(accuracy, count, strict=True)]
    per_user = pd.DataFrame(
        {"accuracy": accuracy, "ci_low": [b[0] for b in bounds], "ci_high": [b[1] for b in bounds], "n": count}
    )
    macro = float(accuracy.mean())
    return Recognition(
        per_user, macro, wilson_interval(macro, effective_count(count)), len(data), [float(s.mean()) for s in by_seed],
        _confusion(predictions, truth, list(users), list(classes)),
        pd.Series(right.mean(axis=0)).groupby([truth, data.table["session"].to_numpy()]).mean(),
        _rivals(pd.DataFrame(probabilities.mean(axis=0), columns=classes)[list(users)], truth),
    )  # fmt: skip


def telling_apart(people: int) -> float:
    """Accuracy from which somebody is known from `people`: twice chance, but at most halfway from chance to 1."""
    chance = 1 / people
    return chance + min(chance, (1 - chance) / 2)


def effective_count(counts: ArrayLike) -> float:
    """How many images, equally many of each user, would leave the mean over users as uncertain as `counts` [U] do:
    U^2 / sum(1 / n), for the variances of the users' shares, p (1 - p) / n, add up. Users without images do not count.
    """
    known = np.asarray(counts, float)
    known = known[known > 0]
    return float(len(known) ** 2 / (1 / known).sum()) if len(known) else 0.0


def wilson_interval(share: float, count: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval for a proportion (Wilson 1927); `share` may be a mean over judges. (0, 1) for count 0."""
    if count == 0 or not np.isfinite(share):
        return 0.0, 1.0
    z = ndtri(0.5 + confidence / 2)
    centre = share + z * z / (2 * count)
    margin = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, float((centre - margin) / scale)), min(1.0, float((centre + margin) / scale))


def _rivals(probabilities: pd.DataFrame, truth: np.ndarray) -> np.ndarray:
    users = probabilities.columns
    own = probabilities.to_numpy()[np.arange(len(truth)), users.get_indexer(truth)]
    more = pd.DataFrame(probabilities.to_numpy() > own[:, None], columns=users)
    return more.groupby(truth).mean().reindex(users, fill_value=0).to_numpy(float)


def _confusion(predictions: np.ndarray, truth: np.ndarray, users: list[str], classes: list[str]) -> np.ndarray:
    order = users + [c for c in classes if c not in users]
    counts = confusion_matrix(np.tile(truth, len(predictions)), predictions.ravel(), labels=order)[: len(users)]
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

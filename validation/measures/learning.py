"""Learning curves: what a fast classifier learns from few real windows, alone and with synthetic ones beside them.

The classifier is a linear discriminant on features that do not depend on when a window starts. It ranks training sets
as the judges' network does, in a hundredth of the time, so many draws can be paired. Decisions are `usefulness`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
import torch
from sklearn.covariance import ledoit_wolf
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from validation.networks.judge import encode_batches
from validation.networks.network import MAX_SHIFT, Augment, GaitDescriptor, seeded_thread, shrink

REAL, SHIFTED, SYNTHETIC = "real", "real and time-shifted", "synthetic"
#: Synthetic windows beside each real one, in the arms that mix; the last takes all there are.
RATIOS: dict[str, float] = {"1x synthetic": 1, "3x synthetic": 3, "all synthetic": np.inf}
COMPONENTS = 64
#: Shifted copies of every real window, in the arms that use them.
SHIFTS = 3
#: Variance within users, over that of all features, that a discriminant assumes at least: a set may repeat one image.
LEAST_WITHIN = 1e-6


@dataclass(frozen=True)
class Labelled:
    """features: float [N, D]. users: [N]."""

    features: np.ndarray
    users: np.ndarray

    def select(self, rows: np.ndarray) -> Labelled:
        """The rows that `rows` (mask or positions) names."""
        return Labelled(self.features[rows], self.users[rows])

    def __add__(self, other: Labelled) -> Labelled:
        return Labelled(np.concatenate([self.features, other.features]), np.concatenate([self.users, other.users]))


@dataclass(frozen=True)
class Pools:
    """What may be learned from. shifted: copies of the real windows moved in time, row by row."""

    real: Labelled
    shifted: Sequence[Labelled]
    synthetic: Labelled


#: {(budget, arm): bool [draws, N]}: which test windows were recognised after training on that arm.
Curve = dict[tuple[int, str], np.ndarray]


def describe(images: np.ndarray, side: int) -> np.ndarray:
    """The gait descriptor of images [N, C, H, W], averaged down to `side` before: float64 [N, D]."""
    small = shrink(images, side)
    return encode_batches(GaitDescriptor(*small.shape[-2:]).eval(), small, "cpu")


def feature_space(descriptors: np.ndarray) -> Pipeline:
    """Standardisation and principal components, fitted on `descriptors` [N, D] without labels."""
    components = min(COMPONENTS, *np.subtract(descriptors.shape, 1))
    return make_pipeline(StandardScaler(), PCA(components, random_state=0)).fit(descriptors)


def time_shifted(images: np.ndarray, side: int, seed: int) -> list[np.ndarray]:
    """`SHIFTS` copies of images [N, C, H, W], averaged down to `side` before, as the networks see them; each window is
    moved by up to `MAX_SHIFT` columns with its edge repeated."""
    shift, small = Augment(MAX_SHIFT, gain=0.0, noise=0.0).train(), torch.from_numpy(shrink(images, side))
    with seeded_thread(seed):
        return [shift(small).numpy() for _ in range(SHIFTS)]


def recognised(training: Labelled, *tests: Labelled) -> list[np.ndarray]:
    """bool [N] for each of `tests`: windows whose user a linear discriminant learned from `training`.

    Its covariance is that within all users, shrunk (Ledoit and Wolf 2004); scikit-learn's shrinks each user's alone,
    which knows fewer people from few windows and takes eight times as long. All users are equally likely to it, however
    many windows each has. Nothing is recognised after training on fewer than two users, or on one window each.
    """
    users, codes = np.unique(training.users, return_inverse=True)
    if len(users) < 2 or len(training.users) <= len(users):
        return [np.full(len(test.users), False) for test in tests]
    means = np.stack([training.features[codes == code].mean(axis=0) for code in range(len(users))])
    within, _ = ledoit_wolf(training.features - means[codes], assume_centered=True)
    within += np.eye(len(within)) * max(LEAST_WITHIN * training.features.var(), 1e-12)
    weights = np.linalg.solve(within, means.T)
    offsets = -(means.T * weights).sum(axis=0) / 2
    return [users[(test.features @ weights + offsets).argmax(axis=1)] == test.users for test in tests]


def learning_curve(
    pools: Pools, tests: Mapping[str, Labelled], budgets: Sequence[int], draws: int, rng: np.random.Generator
) -> dict[str, Curve]:
    """Every arm at every budget of real windows per user, on each of `tests`.

    In each of `draws`, one random order of the real and one of the synthetic windows serves all budgets and arms, so
    that arms differ in nothing else. A user with fewer windows than asked for gives all it has.
    """
    found: dict[str, dict[tuple[int, str], list[np.ndarray]]] = {name: {} for name in tests}
    for _ in range(draws):
        real_place, synthetic_place = (random_places(pool.users, rng) for pool in (pools.real, pools.synthetic))
        for budget in budgets:
            for arm, training in _arms(pools, real_place, synthetic_place, budget).items():
                for name, right in zip(tests, recognised(training, *tests.values()), strict=True):
                    found[name].setdefault((budget, arm), []).append(right)
    return {name: {key: np.array(right) for key, right in curve.items()} for name, curve in found.items()}


def random_places(users: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """int [N]: the place of each row among its user's rows, in random order; `places < n` draws n rows of each user."""
    places = np.empty(len(users), int)
    for user in np.unique(users):
        rows = np.flatnonzero(users == user)
        places[rows] = rng.permutation(len(rows))
    return places


def available_budgets(users: np.ndarray, wanted: Sequence[int]) -> list[int]:
    """The `wanted` windows per user that at least half of the users exceed, and last all that the richest has."""
    counts = np.unique(users, return_counts=True)[1]
    return [budget for budget in sorted(wanted) if budget < np.median(counts)] + [int(counts.max())]


def macro(right: np.ndarray, users: np.ndarray) -> float:
    """Mean over users of the share of their windows that was recognised: right [draws, N], users [N]."""
    return float(np.mean([right[:, users == user].mean() for user in np.unique(users)]))


def _arms(pools: Pools, real_place: np.ndarray, synthetic_place: np.ndarray, budget: int) -> dict[str, Labelled]:
    """Synthetic windows come on top of time shifts, so that the two are not confused."""
    few = real_place < budget
    real = pools.real.select(few)
    shifted = reduce(add, (moved.select(few) for moved in pools.shifted), real)
    mixed = {arm: shifted + pools.synthetic.select(synthetic_place < ratio * budget) for arm, ratio in RATIOS.items()}
    return {REAL: real, SHIFTED: shifted, **mixed, SYNTHETIC: pools.synthetic.select(synthetic_place < budget)}

"""Kernel distances between real people and between recordings of one, and a user's synthetic rows in that unit."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from validation.measures.distances import cross_distances, half_of_each, paired_distances, polynomial_kernel
from validation.measures.feature_sets import FeatureSet

#: Upper end of what happens between real sessions.
HIGH = 0.95
#: Halves drawn for the interval of one user.
USER_DRAWS = 60


def person_distance(kernel: np.ndarray, real: FeatureSet, users: list[str]) -> float:
    """Median distance of two people, of those of `users` with two rows or more. kernel: of `real` with itself."""
    members = real.members(users)
    members = members[members.sum(axis=1) > 1]
    return float(np.median(cross_distances(kernel, members, members)[~np.eye(len(members), dtype=bool)]))


def session_distances(
    kernel: np.ndarray, real: FeatureSet, users: list[str], rng: np.random.Generator, draws: int
) -> np.ndarray:
    """Kernel distances of one recording of every user to another of the same users, chosen anew each time: [draws].

    What another day does to a set. Empty where fewer than two users have two recordings of two windows or more.
    """
    units = [_units(real, user) for user in users]
    units = [choice for choice in units if len(choice) > 1]
    if len(units) < 2:
        return np.empty(0)
    first, second = (np.zeros((draws, len(real)), bool) for _ in range(2))
    for draw in range(draws):
        for choice in units:
            one, other = rng.choice(len(choice), 2, replace=False)
            first[draw] |= choice[one]
            second[draw] |= choice[other]
    return paired_distances(kernel, first, second)


def user_ratios(
    kernel: np.ndarray,
    real: FeatureSet,
    synthetic: FeatureSet,
    users: list[str],
    least: float,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Each user's synthetic rows against the same user's real ones: index user; ratio, ci_low, ci_high.

    Over the greatest distance between two recordings of this user, over the upper end of all users' ones, and over
    `least`, whichever is greatest. Users with fewer than four rows on a side are left out.
    """
    apart = {user: _distances_between(kernel, _units(real, user)) for user in users}
    known = [value for values in apart.values() for value in values]
    usual = float(np.quantile(known, HIGH)) if known else 0.0
    rows = {}
    for user in users:
        mine, fake = real.features[real.users == user], synthetic.features[synthetic.users == user]
        if min(len(mine), len(fake)) < 4:
            continue
        both = np.concatenate([mine, fake])
        side = np.repeat((np.arange(len(both)) < len(mine))[None], USER_DRAWS + 1, axis=0)
        halves = (
            np.concatenate([side[:1], half_of_each(side[1:], rng)]),
            np.concatenate([~side[:1], half_of_each(~side[1:], rng)]),
        )
        value, *drawn = paired_distances(polynomial_kernel(both, both), *halves)
        scale, margin = max(usual, least, 1e-9, *apart[user]), 1.96 * float(np.std(drawn))
        rows[user] = (value / scale, (value - margin) / scale, (value + margin) / scale)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["ratio", "ci_low", "ci_high"])


def _units(real: FeatureSet, user: str) -> list[np.ndarray]:
    """Rows of each recording of a user that has two or more: list of bool [N]."""
    masks = [real.units == unit for unit in np.unique(real.units[real.users == user])]
    return [mask for mask in masks if mask.sum() > 1]


def _distances_between(kernel: np.ndarray, units: list[np.ndarray]) -> np.ndarray:
    if len(units) < 2:
        return np.empty(0)
    rows = np.flatnonzero(np.any(units, axis=0))
    kernel, pairs = kernel[np.ix_(rows, rows)], list(combinations([unit[rows] for unit in units], 2))
    return paired_distances(kernel, *(np.stack(side) for side in zip(*pairs, strict=True)))

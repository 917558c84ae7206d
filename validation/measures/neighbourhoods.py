"""Fidelity and variety apart: precision, recall, density and coverage of nearest-neighbour balls. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances

NEIGHBOURS = 5
CHUNK = 2048
#: Rounding of a squared distance by matrix product, in units of machine precision, features and squared lengths.
ROUNDING = 4.0


@dataclass(frozen=True)
class Neighbourhoods:
    """precision, recall and coverage in 0..1; density is not bounded by 1, its expectation for equal distributions.

    precision: share of synthetic vectors in some ball around a real one, whose radius is the distance to its k-th
    nearest real neighbour. recall: the same with the roles exchanged (Kynkaanniemi et al. 2019). density: mean number
    of real balls that hold a synthetic vector, over k. coverage: share of real balls that hold any (Naeem et al. 2020).
    """

    precision: float
    recall: float
    density: float
    coverage: float


def neighbourhoods(real: np.ndarray, synthetic: np.ndarray, k: int = NEIGHBOURS) -> Neighbourhoods:
    """Of feature vectors real [n, D] and synthetic [m, D]; compare only at equal n and m.

    A ball holds its surface (<=), so that repeated vectors count. Memory grows with n and m, not with n x m. Raises
    `ValueError` where a set has no k-th neighbour.
    """
    if min(len(real), len(synthetic)) <= k:
        raise ValueError(
            f"needs more than {k} vectors in both sets, got {len(real)} real and {len(synthetic)} synthetic"
        )
    real_radius, synthetic_radius = radii(real, k), radii(synthetic, k)
    covered, inside_synthetic = np.zeros(len(real), bool), np.zeros(len(real), bool)
    balls = []
    for start in range(0, len(synthetic), CHUNK):
        part = slice(start, start + CHUNK)
        in_real, in_synthetic = inside(real, synthetic[part], real_radius, synthetic_radius[part])
        balls.append(in_real.sum(axis=0))
        covered |= in_real.any(axis=1)
        inside_synthetic |= in_synthetic.any(axis=1)
    count = np.concatenate(balls)
    return Neighbourhoods(
        float((count > 0).mean()), float(inside_synthetic.mean()), float(count.mean() / k), float(covered.mean())
    )


def radii(features: np.ndarray, k: int = NEIGHBOURS) -> np.ndarray:
    """Distance of each row of [n, D] to its k-th nearest other row: float64 [n]."""

    def of(part: np.ndarray) -> np.ndarray:
        kth = np.argpartition(euclidean_distances(part, features, squared=True), k, axis=1)[:, k]
        return np.linalg.norm(part - features[kth], axis=1)

    return np.concatenate([of(features[i : i + CHUNK]) for i in range(0, len(features), CHUNK)])


def inside(a: np.ndarray, b: np.ndarray, a_radius: np.ndarray, b_radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether pairs of [n, D] and [m, D] lie in the ball around the first, and in that around the second: bool [n, m].

    Distances come from a matrix product, far cheaper than differences where there are many features; pairs so near a
    surface that its rounding would decide, repeated vectors among them, are measured again by difference.
    """
    squared = euclidean_distances(a, b, squared=True)
    rounding = ROUNDING * np.finfo(float).eps * a.shape[1] * ((a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1))

    def within(radius: np.ndarray) -> np.ndarray:
        margin = squared - radius**2
        holds = margin <= 0
        near = np.argwhere(np.abs(margin, out=margin) <= rounding)
        for i, j in (near[start : start + CHUNK].T for start in range(0, len(near), CHUNK)):
            exact = np.linalg.norm(a[i] - b[j], axis=1)
            holds[i, j] = exact <= np.broadcast_to(radius, squared.shape)[i, j]
        return holds

    return within(a_radius[:, None]), within(b_radius)

"""Fidelity and variety apart: precision, recall, density and coverage of nearest-neighbour balls. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

NEIGHBOURS = 5
CHUNK = 2048


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
        distance = cdist(real, synthetic[part])  # (n, chunk)
        holds = distance <= real_radius[:, None]
        balls.append(holds.sum(axis=0))
        covered |= holds.any(axis=1)
        inside_synthetic |= (distance <= synthetic_radius[part]).any(axis=1)
    count = np.concatenate(balls)
    return Neighbourhoods(
        float((count > 0).mean()), float(inside_synthetic.mean()), float(count.mean() / k), float(covered.mean())
    )


def radii(features: np.ndarray, k: int = NEIGHBOURS) -> np.ndarray:
    """Distance of each row of [n, D] to its k-th nearest other row: float64 [n]."""
    parts = (cdist(features[i : i + CHUNK], features) for i in range(0, len(features), CHUNK))
    return np.concatenate([np.partition(part, k, axis=1)[:, k] for part in parts])

"""Distances between two sets of feature vectors, on plain arrays. Which encoder made them is the caller's business."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance between Gaussians fitted to rows of `a` [n, D] and `b` [m, D], in squared feature units.

    |mean_a - mean_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) (Dowson & Landau 1982), covariances with ddof 1, in float64.
    Biased upwards at finite n (about D(D+5)/(2n) for white noise): compare only at equal n. Raises `ValueError` on
    fewer than two rows.
    """
    a, b = _checked(a), _checked(b)
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    root_a = (a - mean_a) / np.sqrt(len(a) - 1)  # S_a = root_a^T root_a
    root_b = (b - mean_b) / np.sqrt(len(b) - 1)
    if max(len(a), len(b)) < a.shape[1]:
        cross = np.linalg.norm(root_a @ root_b.T, ord="nuc")
        spread = (root_a**2).sum() + (root_b**2).sum()
        return float(((mean_a - mean_b) ** 2).sum() + spread - 2 * cross)
    return frechet_of_moments(mean_a, root_a.T @ root_a, mean_b, root_b.T @ root_b)


def frechet_of_moments(mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray) -> float:
    """The same from means [D] and covariances [D, D], which may be singular; no matrix square root is iterated.

    tr (S_a S_b)^(1/2) = sum of the square roots of the eigenvalues of S_a^(1/2) S_b S_a^(1/2), all of them >= 0.
    """
    values, vectors = linalg.eigh(np.asarray(cov_a, np.float64))
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    cross = np.sqrt(linalg.eigvalsh(root @ np.asarray(cov_b, np.float64) @ root).clip(min=0)).sum()
    difference = np.asarray(mean_a, np.float64) - np.asarray(mean_b, np.float64)
    return float(difference @ difference + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


def polynomial_kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(a.b / D + 1)^3 for every pair of rows, float64 [n, m] (Binkowski et al. 2018, section 4)."""
    return (np.asarray(a, np.float64) @ np.asarray(b, np.float64).T / a.shape[1] + 1) ** 3


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy of `polynomial_kernel` (Gretton et al. 2012, eq. 3).

    0 in expectation for equal distributions at any n, so a little below 0 is normal. Not scale-free: standardise first.
    """
    a, b = _checked(a), _checked(b)
    return _mmd(polynomial_kernel(a, a), polynomial_kernel(a, b), polynomial_kernel(b, b))


@dataclass(frozen=True)
class KernelTest:
    """Kernel distance with a 95 % interval (delete-half jackknife) and a permutation p-value of equality."""

    value: float
    ci_low: float
    ci_high: float
    p_value: float


def kernel_test(a: np.ndarray, b: np.ndarray, rng: np.random.Generator, draws: int = 200) -> KernelTest:
    """`kernel_distance` of `a` [n, D] and `b` [m, D] with its uncertainty; needs at least four rows each.

    The interval comes from halves drawn without replacement, whose spread about equals that of the whole (Shao & Wu
    1989); drawing with replacement would duplicate rows and bias the estimate.
    """
    joined = np.concatenate([_checked(a), _checked(b)])
    kernel, n = polynomial_kernel(joined, joined), len(a)

    def distance(rows: np.ndarray, others: np.ndarray) -> float:
        blocks = (kernel[np.ix_(rows, rows)], kernel[np.ix_(rows, others)], kernel[np.ix_(others, others)])
        return _mmd(*blocks)

    everyone = np.arange(len(joined))
    value = distance(everyone[:n], everyone[n:])
    halves = [distance(rng.choice(n, n // 2, False), n + rng.choice(len(b), len(b) // 2, False)) for _ in range(draws)]
    shuffled = [rng.permutation(everyone) for _ in range(draws)]
    exceeding = sum(distance(order[:n], order[n:]) >= value for order in shuffled)
    margin = 1.96 * float(np.std(halves))
    return KernelTest(value, value - margin, value + margin, (1 + exceeding) / (1 + draws))


def standardise(reference: np.ndarray, *features: np.ndarray) -> list[np.ndarray]:
    """Each of `features` [n, D] minus the mean of `reference`, over its root mean variance: one scale for all columns.

    A scale for each column would blow up the features that hardly ever respond, and the cubic kernel with them.
    """
    mean, deviation = reference.mean(axis=0), np.sqrt(reference.var(axis=0).mean())
    return [(f - mean) / max(float(deviation), 1e-12) for f in features]


def _mmd(within_a: np.ndarray, between: np.ndarray, within_b: np.ndarray) -> float:
    n, m = between.shape
    mean_a = (within_a.sum() - np.trace(within_a)) / (n * (n - 1))
    mean_b = (within_b.sum() - np.trace(within_b)) / (m * (m - 1))
    return float(mean_a + mean_b - 2 * between.mean())


def _checked(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"needs at least two feature vectors [n, D], got shape {features.shape}")
    return features

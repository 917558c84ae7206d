"""Distances between two sets of feature vectors, on plain arrays. Which encoder made them is the caller's business."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg
from scipy.sparse import csr_array

#: Sizes at which the Frechet distance is taken to extrapolate it (Chong & Forsyth 2020 take 15).
SIZES = 15
#: Below this many images per feature, the bias is no longer linear in 1/N.
IMAGES_PER_FEATURE = 5


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


def frechet_distance_infinite(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> float | None:
    """What `frechet_distance` tends to with ever more images: its intercept over 1/n (Chong & Forsyth 2020, eq. 6).

    Taken at sizes from half of the images to all of them, equal in both sets. None where half of the smaller set is
    below five images per feature. Near 0, and sometimes below it, for equal distributions.
    """
    count, features = min(len(a), len(b)), a.shape[1]
    if count < 2 * IMAGES_PER_FEATURE * features:
        return None
    sizes = np.linspace(count // 2, count, SIZES).astype(int)
    values = [frechet_distance(rng.permutation(a)[:size], rng.permutation(b)[:size]) for size in sizes]
    return float(np.polyfit(1 / sizes, values, 1)[1])


def polynomial_kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(a.b / D + 1)^3 for every pair of rows, float64 [n, m] (Binkowski et al. 2018, section 4)."""
    return (np.asarray(a, np.float64) @ np.asarray(b, np.float64).T / a.shape[1] + 1) ** 3


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy of `polynomial_kernel` (Gretton et al. 2012, eq. 3).

    0 in expectation for equal distributions at any n, so a little below 0 is normal. Not scale-free: standardise first.
    """
    a, b = _checked(a), _checked(b)
    within = sum(_mean_of_others(polynomial_kernel(rows, rows)) for rows in (a, b))
    return float(within - 2 * polynomial_kernel(a, b).mean())


def paired_distances(kernel: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Kernel distance of the rows `first[i]` to the rows `second[i]` of one kernel matrix, for every i: float64 [k].

    kernel: [n, n] of all rows together. first, second: which rows belong to each side, bool [k, n], two at least.
    """
    first, second = first.astype(np.float64), second.astype(np.float64)
    between = ((first @ kernel) * second).sum(axis=1) / (first.sum(axis=1) * second.sum(axis=1))
    return _within(kernel, first) + _within(kernel, second) - 2 * between


def cross_distances(kernel: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Kernel distance of the rows `first[i]` to the rows `second[j]`, for every i and j: float64 [k, l].

    As `paired_distances`, with first [k, n] and second [l, n]. Sums are sparse, for there may be many sets of few rows.
    """
    first, second = csr_array(first, dtype=np.float64), csr_array(second, dtype=np.float64)
    between = (first @ kernel) @ second.T / np.outer(first.sum(axis=1), second.sum(axis=1))
    return _within(kernel, first)[:, None] + _within(kernel, second) - 2 * between


def half_of_each(members: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random half (two at least) of the rows of each set: bool [k, n] -> bool [k, n]."""
    rows, columns = np.nonzero(members)
    order = np.lexsort((rng.random(members.shape)[rows, columns], rows))
    counts = members.sum(axis=1)
    rank = np.arange(len(rows)) - np.repeat(counts.cumsum() - counts, counts)
    chosen = order[rank < np.repeat(np.maximum(2, counts // 2), counts)]
    half = np.zeros_like(members)
    half[rows[chosen], columns[chosen]] = True
    return half


@dataclass(frozen=True)
class KernelTest:
    """Kernel distance with a 95 % interval (delete-half jackknife)."""

    value: float
    ci_low: float
    ci_high: float


def kernel_test(a: np.ndarray, b: np.ndarray, rng: np.random.Generator, draws: int = 200) -> KernelTest:
    """`kernel_distance` of `a` [n, D] and `b` [m, D] with its uncertainty; needs at least four rows each.

    The interval comes from halves drawn without replacement, whose spread about equals that of the whole (Shao & Wu
    1989); drawing with replacement would duplicate rows and bias the estimate.
    """
    joined = np.concatenate([_checked(a), _checked(b)])
    kernel = polynomial_kernel(joined, joined)
    first = np.arange(len(joined)) < len(a)
    value = float(paired_distances(kernel, first[None], ~first[None])[0])
    many = np.repeat(first[None], draws, axis=0)
    halves = paired_distances(kernel, half_of_each(many, rng), half_of_each(~many, rng))
    margin = 1.96 * float(np.std(halves))
    return KernelTest(value, value - margin, value + margin)


def standardise(reference: np.ndarray, *features: np.ndarray) -> list[np.ndarray]:
    """Each of `features` [n, D] minus the mean of `reference`, over its root mean variance: one scale for all columns.

    A scale for each column would blow up the features that hardly ever respond, and the cubic kernel with them.
    """
    mean, deviation = reference.mean(axis=0), np.sqrt(reference.var(axis=0).mean())
    return [(f - mean) / max(float(deviation), 1e-12) for f in features]


def standardise_columns(reference: np.ndarray, *features: np.ndarray) -> list[np.ndarray]:
    """As `standardise`, for columns [n, D] of different units: each over its own interquartile range in `reference`.

    What could not be measured (NaN) becomes the reference's median; values beyond ten ranges are cut there.
    """
    low, middle, high = np.nanquantile(reference, [0.25, 0.5, 0.75], axis=0)
    scale = np.where(high > low, high - low, np.nanstd(reference, axis=0))
    scaled = [(np.where(np.isfinite(f), f, middle) - middle) / np.maximum(scale, 1e-12) for f in features]
    return [np.nan_to_num(f).clip(-10, 10) for f in scaled]


def _mean_of_others(kernel: np.ndarray) -> float:
    """Mean kernel [n, n] of two different rows."""
    return float(kernel.sum() - np.trace(kernel)) / (len(kernel) * (len(kernel) - 1))


def _within(kernel: np.ndarray, members: np.ndarray | csr_array) -> np.ndarray:
    """Mean kernel of two different rows of each set: members float [k, n] of 0 and 1 -> [k]."""
    count = members.sum(axis=1)
    total = ((members @ kernel) * members).sum(axis=1) - members @ np.diag(kernel)
    return total / (count * (count - 1))


def _checked(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"needs at least two feature vectors [n, D], got shape {features.shape}")
    return features

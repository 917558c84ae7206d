"""Is it a copy? The closest training image of each synthetic one, allowing a shift in time, against held-out real."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mdgen.data.dataset import SpectrogramSet


@dataclass(frozen=True)
class Neighbours:
    """For each of n queries: its closest reference. index: int [n], row of the references, -1 where there is none;
    similarity: float [n], correlation in [-1, 1], NaN where there is none; shift: int [n] in columns."""

    index: np.ndarray
    similarity: np.ndarray
    shift: np.ndarray


def shifted_correlation(queries: np.ndarray, references: np.ndarray, max_shift: int) -> tuple[np.ndarray, np.ndarray]:
    """Largest correlation over shifts in time, and that shift: float32 and int [n, m].

    queries [n, C, H, W], references [m, C, H, W]. At each shift of at most `max_shift` columns (and a quarter of the
    width) the overlapping parts are correlated, each with its own mean removed, so a shifted copy gives exactly 1.
    shift s > 0: column c of the query matches column c - s of the reference.
    """
    width = queries.shape[-1]
    reach = min(max_shift, width // 4)
    best = np.full((len(queries), len(references)), -np.inf, np.float32)
    where = np.zeros(best.shape, int)
    for shift in range(-reach, reach + 1):
        left, right = max(shift, 0), width + min(shift, 0)
        similarity = _unit_rows(queries[..., left:right]) @ _unit_rows(references[..., left - shift : right - shift]).T
        closer = similarity > best
        best[closer], where[closer] = similarity[closer], shift
    return best, where


def nearest_same_user(queries: SpectrogramSet, references: SpectrogramSet, max_shift: int = 12) -> Neighbours:
    """The closest reference of the same user for every query, by `shifted_correlation`."""
    index = np.full(len(queries), -1)
    similarity = np.full(len(queries), np.nan)
    shift = np.zeros(len(queries), int)
    query_users, reference_users = queries.table["user"].to_numpy(), references.table["user"].to_numpy()
    for user in queries.users:
        rows, candidates = np.flatnonzero(query_users == user), np.flatnonzero(reference_users == user)
        if not len(candidates):
            continue
        best, where = shifted_correlation(queries.images[rows], references.images[candidates], max_shift)
        closest = best.argmax(axis=1)
        index[rows] = candidates[closest]
        similarity[rows] = best[np.arange(len(rows)), closest]
        shift[rows] = where[np.arange(len(rows)), closest]
    return Neighbours(index, similarity, shift)


def near_copy_share(synthetic: np.ndarray, held_out: np.ndarray, quantile: float = 0.99) -> tuple[float, float]:
    """Share of `synthetic` similarities above the `quantile` of `held_out` real ones, and that similarity.

    A generator that is as close to its training set as unseen real data gives about 1 - quantile. NaN, NaN where
    nothing can be compared.
    """
    known, unseen = synthetic[np.isfinite(synthetic)], held_out[np.isfinite(held_out)]
    if not len(known) or not len(unseen):
        return float("nan"), float("nan")
    limit = float(np.quantile(unseen, quantile))
    return float((known > limit).mean()), limit


def _unit_rows(images: np.ndarray) -> np.ndarray:
    """float32 [n, pixels]: each image with mean 0 and norm 1 (all zeros where it is constant)."""
    rows = images.reshape(len(images), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(norm, 1e-6)

"""How alike two spectrograms are when one may start a little later, and which windows of a recording share signal.

Pure functions. What closeness means is decided in `copies`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.fft import next_fast_len

from mdgen.data.dataset import START_COLUMN, SpectrogramSet
from mdgen.data.splits import GUARD, ordered_units
from validation.networks.network import one_thread

#: Pixels that deviate less than this (0.04 dB of 40 dB) are flat and correlate with nothing.
_FLAT = 1e-3
#: Products held in memory at once, queries x references x shifts.
_CHUNK = 2**24


@dataclass(frozen=True)
class Neighbours:
    """For each of n queries: its closest reference. index: int [n], row of the references, -1 where there is none;
    similarity: float [n], correlation in [-1, 1], NaN where there is none."""

    index: np.ndarray
    similarity: np.ndarray


def shifted_correlation(queries: np.ndarray, references: np.ndarray, max_shift: int) -> tuple[np.ndarray, np.ndarray]:
    """Largest correlation over shifts of at most `max_shift` columns (and a quarter of the width), and that shift:
    float32 and int [n, m]. Queries [n, C, H, W], references [m, C, H, W]; see `correlation_over_shifts`."""
    reach = min(max_shift, queries.shape[-1] // 4)
    return correlation_over_shifts(queries, references, np.arange(-reach, reach + 1))


def correlation_over_shifts(
    queries: np.ndarray, references: np.ndarray, shifts: np.ndarray, columns: tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Largest correlation over `shifts` (int, columns) in time, and that shift: float32 and int [n, m].

    queries [n, C, H, W], references [m, C, H, W]. At each shift the overlapping parts are correlated, each with its own
    mean removed, so a shifted copy gives exactly 1. shift s > 0: column c of the query matches column c - s of the
    reference. columns: (first, end) of the only columns of the queries that take part (default: all). Computed by
    Fourier transform along time, long enough for these shifts not to wrap round (masked normalised cross-correlation,
    Padfield 2012).
    """
    width = queries.shape[-1]
    first, end = columns or (0, width)
    low, high = np.maximum(first, shifts), np.minimum(end, width + shifts)
    asked, known = _flattened(queries), _flattened(references)
    asked -= asked[..., first:end].mean(axis=(1, 2), keepdims=True)
    known -= known.mean(axis=(1, 2), keepdims=True)
    asked[..., :first], asked[..., end:] = 0, 0
    count = (high - low) * asked.shape[1]
    length = next_fast_len(int(max(width, end - shifts.min(), width + shifts.max() - first)), real=True)
    sum_known, square_known = _sums(known, low - shifts, high - shifts)
    scale_known = np.sqrt(_energy(sum_known, square_known, count)).astype(np.float32)
    sum_known = (sum_known / count).astype(np.float32)
    right = _spectra(known, length).conj().permute(2, 1, 0).resolve_conj().contiguous()
    best, where = [], []
    step = max(1, _CHUNK // (length * len(known)))
    for part in (asked[i : i + step] for i in range(0, len(asked), step)):
        products = _products(part, right, length)[:, :, shifts % length]
        sums, squares = _sums(part, low, high)
        covariance = products - sums[:, None].astype(np.float32) * sum_known
        scale = np.sqrt(_energy(sums, squares, count))
        correlation = covariance / (scale[:, None].astype(np.float32) * scale_known)
        place = correlation.argmax(axis=2)
        best.append(np.take_along_axis(correlation, place[..., None], 2)[..., 0])
        where.append(shifts[place])
    return np.concatenate(best), np.concatenate(where)


def shares_signal(table: pd.DataFrame, width: int) -> np.ndarray:
    """bool [N, N]: windows of one recording that overlap; each window shares signal with itself.

    By `start_column` where every window of the recording has one, else at most `splits.GUARD` positions apart in the
    order of the recording, as `splits.leak_share` has it.
    """
    table = table.reset_index(drop=True)
    shared = np.eye(len(table), dtype=bool)
    for rows in ordered_units(table, ["user", "session", "recording"]):
        place, reach = np.arange(len(rows), dtype=float), GUARD + 0.5
        if START_COLUMN in table and table.loc[rows, START_COLUMN].notna().all():
            place, reach = table.loc[rows, START_COLUMN].to_numpy(float), 0.95 * width
        shared[np.ix_(rows, rows)] = np.abs(place[:, None] - place) < reach
    return shared


def nearest_same_user(queries: SpectrogramSet, references: SpectrogramSet, max_shift: int = 12) -> Neighbours:
    """The closest reference of the same user for every query, by `shifted_correlation`."""
    index = np.full(len(queries), -1)
    similarity = np.full(len(queries), np.nan)
    query_users, reference_users = queries.table["user"].to_numpy(), references.table["user"].to_numpy()
    for user in queries.users:
        rows, candidates = np.flatnonzero(query_users == user), np.flatnonzero(reference_users == user)
        if not len(candidates):
            continue
        best, _ = shifted_correlation(queries.images[rows], references.images[candidates], max_shift)
        closest = best.argmax(axis=1)
        index[rows] = candidates[closest]
        similarity[rows] = best[np.arange(len(rows)), closest]
    return Neighbours(index, similarity)


def _flattened(images: np.ndarray) -> np.ndarray:
    """float64 [n, C x H, W], a copy."""
    return images.reshape(len(images), -1, images.shape[-1]).astype(np.float64)


def _products(queries: np.ndarray, spectra: torch.Tensor, length: int) -> np.ndarray:
    """float32 [n, m, length]: sum over rows and columns of query times shifted reference, at every shift."""
    left = _spectra(queries, length).permute(2, 0, 1).contiguous()
    with one_thread():
        crossed = left @ spectra
        return torch.fft.irfft(crossed.permute(1, 2, 0), length, dim=2).numpy()


def _spectra(images: np.ndarray, length: int) -> torch.Tensor:
    """complex64 [n, H, length // 2 + 1]: Fourier transform along time of [n, H, W] with zeros up to `length`."""
    with one_thread():
        return torch.fft.rfft(torch.from_numpy(images.astype(np.float32)), length, dim=2)


def _sums(images: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum and sum of squares over columns low..high, float64 [n, shifts]."""
    totals = np.stack([images.sum(axis=1), np.einsum("nhw,nhw->nw", images, images)])  # (2, n, W)
    running = np.concatenate([np.zeros((*totals.shape[:2], 1)), totals.cumsum(axis=2)], axis=2)
    return tuple(running[..., high] - running[..., low])


def _energy(sums: np.ndarray, squares: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.maximum(squares - sums**2 / count, _FLAT**2 * count)

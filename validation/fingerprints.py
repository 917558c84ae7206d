"""Statistics of a picture that tampering changes: order of time, axes, fine detail, levels, seams. Pure functions.

No feature depends on where in the gait cycle a window starts, beyond chance.
"""

from __future__ import annotations

import numpy as np

BANDS = 8
LAGS = (1, 2, 4)
CADENCES = 12
SPECTRUM_BINS = 12
QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
CHUNK = 128


def fingerprint(images: np.ndarray) -> np.ndarray:
    """Features of images [N, C, H, W] (mean over channels), at least 16 x 16 pixels: float64 [N, D]."""
    parts = []
    for start in range(0, len(images), CHUNK):
        pixels = images[start : start + CHUNK].mean(axis=1, dtype=np.float64)
        bands = banded(pixels, BANDS)
        groups = (
            profiles(pixels), cadences(bands), fine_spectra(pixels), lead_and_lag(bands), skewed_changes(pixels, bands),
            levels(pixels), seams(pixels),
        )  # fmt: skip
        parts.append(np.concatenate(groups, axis=1))
    return np.concatenate(parts)


def banded(pixels: np.ndarray, bands: int) -> np.ndarray:
    """Mean over each of `bands` equal ranges of velocity: [N, H, W] -> [N, bands, W]."""
    return np.stack([part.mean(axis=1) for part in np.array_split(pixels, bands, axis=1)], axis=1)


def profiles(pixels: np.ndarray) -> np.ndarray:
    """Quantiles over time (10, 50, 90 %) of 16 ranges of velocity."""
    return np.concatenate(np.quantile(banded(pixels, 2 * BANDS), (0.1, 0.5, 0.9), axis=2), axis=1)


def cadences(bands: np.ndarray) -> np.ndarray:
    """Log power of the slow temporal frequencies of every band."""
    changes = bands - bands.mean(axis=2, keepdims=True)
    power = np.abs(np.fft.rfft(changes * np.hanning(bands.shape[2]), axis=2)) ** 2 / bands.shape[2] ** 2
    return np.log(power[:, :, 1 : CADENCES + 1] + 1e-6).reshape(len(bands), -1)


def fine_spectra(pixels: np.ndarray) -> np.ndarray:
    """Log power per pixel in ranges of frequency along time and along Doppler; the highest frequency by itself."""
    found = []
    for axis in (2, 1):
        changes = np.diff(pixels, axis=axis)
        power = (np.abs(np.fft.rfft(changes, axis=axis)) ** 2).mean(axis=3 - axis) / pixels.shape[axis]
        parts = np.array_split(power[:, 1:-1], SPECTRUM_BINS, axis=1)
        found += [part.mean(axis=1) for part in parts] + [power[:, -1]]
    return np.log(np.stack(found, axis=1) + 1e-7)


def lead_and_lag(bands: np.ndarray) -> np.ndarray:
    """Which band moves first: correlation of band i before band j minus j before i, at each lag.

    Changes sign under time reversal, to second order in the data.
    """
    scaled = bands - bands.mean(axis=2, keepdims=True)
    scaled /= np.sqrt((scaled**2).mean(axis=2, keepdims=True)) + 0.02
    first, second = np.triu_indices(bands.shape[1], 1)
    found = []
    for lag in (*LAGS, 8):
        ahead = np.einsum("nit,njt->nij", scaled[:, :, :-lag], scaled[:, :, lag:]) / (bands.shape[2] - lag)
        found.append((ahead - ahead.transpose(0, 2, 1))[:, first, second])
    return np.concatenate(found, axis=1)


def skewed_changes(pixels: np.ndarray, bands: np.ndarray) -> np.ndarray:
    """Skewness of temporal changes of every band and of the mean velocity (slow rise, sharp fall): changes sign under
    time reversal, to third order (Ramsey and Rothman 1996)."""
    series = np.concatenate([bands, mean_velocity(pixels)[:, None], pixels.max(axis=1)[:, None]], axis=1)
    found = []
    for lag in LAGS:
        changes = series[:, :, lag:] - series[:, :, :-lag]
        found.append((changes**3).mean(axis=2) / ((changes**2).mean(axis=2) + 1e-4) ** 1.5)
    return np.concatenate(found, axis=1)


def levels(pixels: np.ndarray) -> np.ndarray:
    """Quantiles, share at the lowest level, number of levels, and spread."""
    flat = np.sort(pixels.reshape(len(pixels), -1), axis=1)
    places = (np.array(QUANTILES) * (flat.shape[1] - 1)).astype(int)
    lowest = (flat < flat[:, :1] + 1e-3).mean(axis=1)
    different = (np.diff(flat, axis=1) > 1e-4).sum(axis=1)
    return np.column_stack([flat[:, places], lowest, np.log1p(different), flat.std(axis=1)])


def seams(pixels: np.ndarray) -> np.ndarray:
    """Steps between neighbouring columns, and rows: the greatest, the least, at the edges, in the middle, at the seams of
    8 x 8 blocks, and two apart, each over the mean."""
    found = []
    for axis in (2, 1):
        other = 3 - axis
        step = np.abs(np.diff(pixels, axis=axis)).mean(axis=other)
        apart = np.abs(np.take(pixels, range(2, pixels.shape[axis]), axis) - np.take(pixels, range(pixels.shape[axis] - 2), axis))
        mean = step.mean(axis=1) + 1e-3
        size = step.shape[1]
        blocks = step[:, 7::8].mean(axis=1)
        found += [step.max(axis=1), step.min(axis=1), step[:, 0], step[:, -1], step[:, size // 2], blocks, apart.mean(axis=(1, 2))]
        found[-7:] = [np.log(value / mean + 1e-2) for value in found[-7:]]
    track = mean_velocity(pixels)
    step = np.abs(np.diff(track, axis=1))
    bend = np.abs(np.diff(track, 2, axis=1))
    return np.column_stack([*found, step.max(axis=1), step.mean(axis=1), bend.max(axis=1), bend.mean(axis=1)])


def mean_velocity(pixels: np.ndarray) -> np.ndarray:
    """Mean row of the squared level above the picture's median in every column, -1 (first row) to 1: [N, W]."""
    energy = (pixels - np.median(pixels, axis=(1, 2), keepdims=True)).clip(0) ** 2
    rows = np.linspace(-1, 1, pixels.shape[1])[:, None]
    return (energy * rows).sum(axis=1) / (energy.sum(axis=1) + 1e-6)

"""Statistics of a picture that tampering changes: order of time, axes, fine detail, levels, seams. Pure functions.

No feature depends on where in the gait cycle a window starts, beyond chance.
"""

from __future__ import annotations

import numpy as np

from validation.measures.smoothing import gaussian

BANDS = 8
LAGS = (1, 2, 4)
CADENCES = 12
SPECTRUM_BINS = 12
QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
CHUNK = 64
AT_FLOOR = 0.02  #: above the lowest level
ENOUGH_LEVELS = 64  #: more tell 8-bit storage from 16-bit, not a genuine picture from an altered one


def fingerprint(images: np.ndarray) -> np.ndarray:
    """Features of images [N, C, H, W] (mean over channels), at least 16 x 16 pixels: float64 [N, D]."""
    parts = []
    for start in range(0, len(images), CHUNK):
        pixels = images[start : start + CHUNK].mean(axis=1, dtype=np.float64)
        bands = banded(pixels, BANDS)
        groups = (
            profiles(pixels), cadences(bands), fine_spectra(pixels), lead_and_lag(bands), skewed_changes(pixels, bands),
            levels(pixels), seams(pixels), repeats(pixels),
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
    power = _power(np.fft.rfft(changes * np.hanning(bands.shape[2]), axis=2)) / bands.shape[2] ** 2
    return np.log(power[:, :, 1 : CADENCES + 1] + 1e-6).reshape(len(bands), -1)


def fine_spectra(pixels: np.ndarray) -> np.ndarray:
    """Log power per pixel in ranges of frequency along time and along Doppler; the highest frequency by itself."""
    found = []
    for axis in (2, 1):
        changes = np.diff(pixels, axis=axis)
        power = _power(np.fft.rfft(changes, axis=axis)).mean(axis=3 - axis) / pixels.shape[axis]
        inner = power[:, 1:-1]
        parts = np.array_split(inner, min(SPECTRUM_BINS, inner.shape[1]), axis=1)
        found += [part.mean(axis=1) for part in parts] + [power[:, -1]]
    return np.log(np.stack(found, axis=1) + 1e-7)


def _power(spectrum: np.ndarray) -> np.ndarray:
    return spectrum.real**2 + spectrum.imag**2


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
        squares = changes**2
        found.append((squares * changes).mean(axis=2) / (squares.mean(axis=2) + 1e-4) ** 1.5)
    return np.concatenate(found, axis=1)


def levels(pixels: np.ndarray) -> np.ndarray:
    """Quantiles, share at the lowest level, number of levels, and spread."""
    flat = np.sort(pixels.reshape(len(pixels), -1), axis=1)
    places = (np.array(QUANTILES) * (flat.shape[1] - 1)).astype(int)
    lowest = (flat < flat[:, :1] + AT_FLOOR).mean(axis=1)
    different = (np.diff(flat, axis=1) > 1e-4).sum(axis=1)
    return np.column_stack([flat[:, places], lowest, np.log1p(np.minimum(different, ENOUGH_LEVELS)), flat.std(axis=1)])


def seams(pixels: np.ndarray) -> np.ndarray:
    """Log steps between neighbouring columns, and rows, over their mean: the greatest, the least, the first, the last,
    the middle one, those at seams of 8 x 8 blocks, and steps over two; then jumps and bends of the mean velocity."""
    track = mean_velocity(pixels)
    jump, bend = np.abs(np.diff(track, axis=1)), np.abs(np.diff(track, 2, axis=1))
    moves = np.column_stack([jump.max(axis=1), jump.mean(axis=1), bend.max(axis=1), bend.mean(axis=1)])
    return np.concatenate([_steps(pixels.transpose(0, 2, 1)), _steps(pixels), moves], axis=1)


def _steps(pixels: np.ndarray) -> np.ndarray:
    """`seams` between the rows of [N, H, W]: [N, 7]."""
    step = np.abs(np.diff(pixels, axis=1)).mean(axis=2)
    over_two = np.abs(pixels[:, 2:] - pixels[:, :-2]).mean(axis=(1, 2))
    kinds = (
        step.max(axis=1), step.min(axis=1), step[:, 0], step[:, -1], step[:, step.shape[1] // 2],
        step[:, 7::8].mean(axis=1), over_two,
    )  # fmt: skip
    return np.log(np.column_stack(kinds) / (step.mean(axis=1, keepdims=True) + 1e-3) + 1e-2)


def repeats(pixels: np.ndarray) -> np.ndarray:
    """Greatest correlation of the finest detail with itself at another time, and run backwards: [N, 2].

    Speckle never comes back, not even a step later; half a picture that is shown twice, or mirrored, has it twice.
    """
    detail = pixels - gaussian(pixels, 1.0)
    width = detail.shape[2]
    spectrum = np.fft.rfft(detail, 2 * width, axis=2)
    energy = np.concatenate([np.zeros((len(pixels), 1)), (detail**2).sum(axis=1).cumsum(axis=1)], axis=1)
    again = np.fft.irfft(_power(spectrum).sum(axis=1), 2 * width, axis=1)
    backwards = np.fft.irfft((spectrum**2).sum(axis=1), 2 * width, axis=1)
    lags = np.arange(width // 8, 3 * width // 4)
    both = (energy[:, -1:] - energy[:, lags]) * energy[:, width - lags]
    sums = np.arange(width // 4, 2 * width - 1 - width // 4)  # of the two columns that meet
    first, last = np.maximum(0, sums - width + 1), np.minimum(width - 1, sums) + 1
    met = energy[:, last] - energy[:, first]
    found = again[:, lags] / np.sqrt(both + 1e-9), backwards[:, sums] / (met + 1e-9)
    return np.column_stack([part.max(axis=1) for part in found])


def mean_velocity(pixels: np.ndarray) -> np.ndarray:
    """Mean row of the squared level above the picture's median in every column, -1 (first row) to 1: [N, W]."""
    middle = np.median(pixels.reshape(len(pixels), -1), axis=1)
    energy = (pixels - middle[:, None, None]).clip(0) ** 2
    return np.linspace(-1, 1, pixels.shape[1]) @ energy / (energy.sum(axis=1) + 1e-6)

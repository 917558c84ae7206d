"""Does the picture break at the same place in image after image? A window is cut out of time anywhere, so no column of
it is special; rows are, but then in real images as well."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter
from scipy.stats import median_abs_deviation

#: Boundaries whose running median says what is usual around a place.
AROUND = 9
#: Deviations (from their median, as of a normal distribution) by which chance may move the greatest of some sixty.
CHANCE = 3.0


@dataclass(frozen=True)
class Seam:
    """The worst boundary along one axis. axis: "column" or "row". place: how many lie before it. excess: how much less
    smoothly images run across it than around it (log ratio), beyond what real ones do there. low: lower bound."""

    axis: str
    place: int
    excess: float
    low: float


def worst_seam(images: np.ndarray, real: np.ndarray, held_out: np.ndarray, axis: str) -> Seam:
    """Where `images` [N, C, H, W] break most, compared with `real` [M, C, H, W].

    held_out: other real images, by which chance is measured where a pattern all over `images` would hide it. Where
    real images are smoother than around, as where two frames of a radar meet, it is enough to be as smooth as around.
    """
    usual = roughness(real, axis)
    usual = np.maximum(usual, median_filter(usual, AROUND, mode="nearest"))
    peaks, by_chance = (_peaks(roughness(some, axis) - usual) for some in (images, held_out))
    place = int(peaks.argmax())
    spread = min(median_abs_deviation(some, scale="normal") for some in (peaks, by_chance))
    return Seam(axis, place + 2, float(peaks[place]), float(peaks[place] - CHANCE * spread))


def roughness(images: np.ndarray, axis: str) -> np.ndarray:
    """Mean log misfit of every step along the axis with the steps before and after it: float64 [length - 3]."""
    pixels = images.mean(axis=1, dtype=np.float64)
    pixels = pixels if axis == "column" else pixels.transpose(0, 2, 1)
    steps = np.diff(gaussian_filter1d(pixels, 1.0, axis=1), axis=2)
    misfit = np.abs(steps[:, :, 1:-1] - (steps[:, :, :-2] + steps[:, :, 2:]) / 2).mean(axis=1)
    return np.log(misfit + 1e-3).mean(axis=0)


def _peaks(difference: np.ndarray) -> np.ndarray:
    return difference - median_filter(difference, AROUND, mode="nearest")

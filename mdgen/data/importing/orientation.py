"""Row 0 = highest approaching velocity, columns = time: what can be seen of it, and turning arrays accordingly.

Averaged over windows, a spectrogram keeps its structure along Doppler and loses it along time. Which end of the
Doppler axis approaches cannot be seen: that has to be told.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mdgen.data.importing.settings import OrientationName

#: The mean picture varies this many times more along one axis than along the other: that one is Doppler.
_CLEAR = 3.0
_MIN_SAMPLE = 4
_UNKNOWN_END = (
    "which end of the Doppler axis approaches: took the top rows; if it is the bottom, give --orientation flip"
)


@dataclass(frozen=True)
class Orientation:
    """Applied in this order. transpose: time runs along rows. flip: approaching is at the bottom."""

    transpose: bool = False
    flip: bool = False

    def apply(self, values: np.ndarray) -> np.ndarray:
        """[H, W, ...] with row 0 the highest approaching velocity."""
        values = values.swapaxes(0, 1) if self.transpose else values
        return values[::-1] if self.flip else values


def find_orientation(samples: list[np.ndarray], wish: OrientationName) -> tuple[Orientation, list[str], list[str]]:
    """(how to turn arrays like `samples` [H, W], what was concluded, what could not be known)."""
    if wish != "auto":
        turned = Orientation(wish.startswith("transpose"), wish.endswith("flip"))
        return turned, [f"orientation {wish}, as told"], []
    ratio = _doppler_ratio(samples)
    if ratio is not None and ratio > _CLEAR:
        return Orientation(), ["rows are Doppler, columns time (by their mean profiles)"], [_UNKNOWN_END]
    if ratio is not None and ratio < 1 / _CLEAR:
        note = "rows are time, columns Doppler (by their mean profiles): transposed; to keep, give --orientation keep"
        return Orientation(transpose=True), [note], [_UNKNOWN_END]
    return Orientation(), [], ["whether rows are Doppler: taken so; if not, give --orientation transpose", _UNKNOWN_END]


def _doppler_ratio(samples: list[np.ndarray]) -> float | None:
    """Variance of the mean picture's row profile over that of its column profile, None for too few samples."""
    shape = samples[0].shape
    alike = [s for s in samples if s.shape == shape]
    if len(alike) < _MIN_SAMPLE:
        return None
    levels = sum(map(_ranks, alike)) / len(alike)
    return float(levels.mean(1).var() / max(levels.mean(0).var(), 1e-12))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Values as their share of the span between the 5th and 99.5th percentile: scale-free, robust to single peaks."""
    finite = np.isfinite(values)
    low, high = np.percentile(values[finite], [5, 99.5]) if finite.any() else (0.0, 1.0)
    return np.where(finite, np.clip((values - low) / max(high - low, 1e-30), 0, 1), 0).astype(np.float32)

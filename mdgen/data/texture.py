"""Texture: how much of a spectrogram's energy is fine, the speckle that a blurring generator loses first."""

from __future__ import annotations

import numpy as np

#: Spatial frequencies above this (cycles per pixel, half of Nyquist) count as fine.
FINE = 0.25


def fine_energy(images: np.ndarray, axis: int) -> np.ndarray:
    """[N]: energy per pixel above `FINE` along an axis (-1 time, -2 Doppler) of images [N, C, H, W] less their mean."""
    images = np.asarray(images, np.float64)
    spectrum = np.abs(np.fft.fft(images - images.mean(axis=(-2, -1), keepdims=True), axis=axis)) ** 2
    fine = np.abs(np.fft.fftfreq(images.shape[axis])) > FINE
    kept = np.compress(fine, spectrum, axis=axis).sum(axis=(1, 2, 3))
    return kept / (images.shape[axis] * np.prod(images.shape[1:]))


def texture_ratio(real: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Mean fine energy of `other` over that of `real` along "time" and "doppler"; 1 is alike, below 1 is blurred."""
    return {
        name: float(fine_energy(other, axis).mean() / max(fine_energy(real, axis).mean(), 1e-12))
        for name, axis in (("time", -1), ("doppler", -2))
    }

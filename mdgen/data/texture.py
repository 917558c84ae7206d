"""Texture: how much of a spectrogram's energy is fine, the speckle that a blurring generator loses first."""

from __future__ import annotations

import numpy as np

#: (name, array axis) of the two directions of an image [H, W].
AXES = (("time", -1), ("doppler", -2))
#: Upper half of the spatial frequencies, cycles per pixel.
FINE = 0.25


def fine_energy(images: np.ndarray, axis: int) -> np.ndarray:
    """Mean power per pixel above 0.25 cycles/pixel along `axis` (-1 time, -2 Doppler) of each image: float64 [N].

    images: [N, C, H, W]. The mean of each image is removed; the 1-D spectra are normalised so that, by Parseval, the
    power of all frequencies is the variance.
    """
    length = images.shape[axis]
    fine = np.abs(np.fft.fftfreq(length)) > FINE
    parts = []
    for start in range(0, len(images), 64):
        chunk = images[start : start + 64].astype(np.float64)
        chunk -= chunk.mean(axis=(-2, -1), keepdims=True)
        power = np.abs(np.fft.fft(chunk, axis=axis)) ** 2 / length**2
        kept = np.compress(fine, power, axis=axis).sum(axis=axis)  # (n, C, other axis)
        parts.append(kept.mean(axis=(1, 2)))
    return np.concatenate(parts)


def texture_ratio(real_images: np.ndarray, synthetic_images: np.ndarray) -> dict[str, float]:
    """{"time": r, "doppler": r}: fine energy of synthetic over real, both [N, C, H, W]; 1 is right, below 1 blurred."""
    return {
        name: float(fine_energy(synthetic_images, axis).mean() / max(fine_energy(real_images, axis).mean(), 1e-12))
        for name, axis in AXES
    }

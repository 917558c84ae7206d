"""Texture of synthetic over real images, with intervals. Speckle lost or a checkerboard shows here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mdgen.data.texture import AXES, fine_energy


@dataclass(frozen=True)
class TextureRatio:
    """Fine energy of synthetic over real along one axis, with a 95 % bootstrap interval over images."""

    axis: str
    value: float
    ci_low: float
    ci_high: float


def texture_ratios(
    real_images: np.ndarray, synthetic_images: np.ndarray, rng: np.random.Generator, draws: int = 200
) -> list[TextureRatio]:
    """`texture_ratio` with intervals: images of both sets are resampled with replacement."""
    results = []
    for name, axis in AXES:
        real, synthetic = fine_energy(real_images, axis), fine_energy(synthetic_images, axis)
        ratios = [
            rng.choice(synthetic, len(synthetic)).mean() / max(rng.choice(real, len(real)).mean(), 1e-12)
            for _ in range(draws)
        ]
        low, high = np.quantile(ratios, [0.025, 0.975])
        value = synthetic.mean() / max(real.mean(), 1e-12)
        results.append(TextureRatio(name, float(value), float(low), float(high)))
    return results

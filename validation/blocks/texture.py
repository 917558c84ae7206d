"""Block: fine detail of synthetic over real images, with intervals. Speckle lost or a checkerboard shows here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mdgen.data.texture import AXES, fine_energy
from validation.context import Context
from validation.findings import Finding
from validation.results import FAIL, PASS, Gate, Metric
from validation.rules import Rule


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


def assess_texture(context: Context) -> Finding:
    """Gate `texture`, beside the same ratio for the generator's real data."""
    sets, draws, rng = context.sets, context.settings.bootstrap_draws, context.rng("texture")
    synthetic = texture_ratios(sets.test.images, sets.synthetic.images, rng, draws)
    train = texture_ratios(sets.test.images, sets.train.images, rng, draws)
    gate = texture_gate(synthetic, train, len(sets.synthetic), context.rules["texture"])
    rows = [
        Metric(
            f"texture_{r.axis}", r.value, set_a="test", set_b=name, ci_low=r.ci_low, ci_high=r.ci_high,
            n_a=len(sets.test), direction="one",
        )
        for name, ratios in (("synthetic", synthetic), ("train", train)) for r in ratios
    ]  # fmt: skip
    intro = "Energy in the upper half of the spatial frequencies, over that of held-out real images."
    return Finding("Texture", intro, [gate], rows)


def texture_gate(ratios: Sequence[TextureRatio], reference: Sequence[TextureRatio], n: int, rule: Rule) -> Gate:
    """Fine detail along time and along Doppler within the allowed range; the value is that of the worse axis.

    reference: the same ratio of the generator's real data to held-out real data.
    """
    worst = int(np.argmax([abs(np.log(max(r.value, 1e-6))) for r in ratios]))
    inside = all(rule["low"] <= r.value <= rule["high"] for r in ratios)
    described = ", ".join(f"{r.value:.2f} along {r.axis}" for r in ratios)
    notes = [f"energy of fine detail over real: {described} (allowed {rule['low']:.2f} to {rule['high']:.2f})"]
    if not inside:
        notes.append("too smooth" if ratios[worst].value < 1 else "too rough")
    value = ratios[worst]
    threshold = rule["low"] if value.value < 1 else rule["high"]
    status = PASS if inside else FAIL
    ceiling = reference[worst].value
    return Gate("texture", status, value.value, value.ci_low, value.ci_high, threshold, ceiling, n, "; ".join(notes))

"""Block: fine detail of synthetic over real images, with intervals. Speckle lost or a checkerboard shows here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mdgen.data.dataset import ROLES, SpectrogramSet
from mdgen.data.texture import AXES, fine_energy
from validation.context import Context
from validation.findings import Finding
from validation.results import FAIL, PASS, Gate, Metric
from validation.rules import Rule
from validation.sets import ENOUGH_IMAGES, session_units

#: Sessions with fewer real images say nothing of themselves.
MIN_SESSION = 5
NAMES = [name for name, _ in AXES]


@dataclass(frozen=True)
class TextureRatio:
    """Fine energy of synthetic over real along one axis, with a 95 % bootstrap interval over images."""

    axis: str
    value: float
    ci_low: float
    ci_high: float


def texture_ratios(
    real: pd.DataFrame, synthetic: pd.DataFrame, rng: np.random.Generator, draws: int = 200
) -> list[TextureRatio]:
    """Ratio of the means of two tables of `fine_energies`: images of both are resampled with replacement."""
    results = []
    for name in NAMES:
        ours, theirs = real[name].to_numpy(), synthetic[name].to_numpy()
        ratios = [
            rng.choice(theirs, len(theirs)).mean() / max(rng.choice(ours, len(ours)).mean(), 1e-12)
            for _ in range(draws)
        ]
        low, high = np.quantile(ratios, [0.025, 0.975])
        results.append(TextureRatio(name, float(theirs.mean() / max(ours.mean(), 1e-12)), float(low), float(high)))
    return results


def fine_energies(data: SpectrogramSet) -> pd.DataFrame:
    """A row per image: its fine energy along time and along Doppler, and its user, unit (session) and role."""
    energies = {name: fine_energy(data.images, axis) for name, axis in AXES}
    return pd.DataFrame(
        {**energies, "user": data.table["user"], "unit": session_units(data.table), "role": data.table["split"]}
    )


def assess_texture(context: Context) -> Finding:
    """Gate `texture`, beside the same ratio for the generator's real data."""
    sets, draws, rng = context.sets, context.settings.bootstrap_draws, context.rng("texture")
    rule = context.rules["texture"]
    real, made = (fine_energies(d) for d in (sets.real.role(*ROLES).of_users(sets.users), sets.synthetic))
    test = real.query("role == 'test'")
    synthetic = texture_ratios(test, made, rng, draws)
    train = texture_ratios(test, real.query("role == 'train'"), rng, draws)
    failing = failing_users(made, real, rule)
    gate = texture_gate(synthetic, train, len(made), rule, failing)
    rows = [
        Metric(
            f"texture_{r.axis}", r.value, set_a="test", set_b=name, ci_low=r.ci_low, ci_high=r.ci_high,
            n_a=len(test), direction="one",
        )
        for name, ratios in (("synthetic", synthetic), ("train", train)) for r in ratios
    ]  # fmt: skip
    intro = "Energy in the upper half of the spatial frequencies, over that of held-out real images."
    per_user = (_by_user(made) / _by_user(real)).add_prefix("texture_")
    return Finding("Texture", intro, [gate], rows, per_user, list(failing))


def failing_users(synthetic: pd.DataFrame, real: pd.DataFrame, rule: Rule) -> dict[str, str]:
    """User -> why, where a user's fine detail over the same user's in real images is out of the rule's range, and
    farther out than any real session of anybody by a margin."""
    home = _by_user(real)
    counted = real.groupby(["user", "unit"])["user"].transform("size") >= MIN_SESSION
    sessions = real[counted].groupby(["user", "unit"])[NAMES].mean() / home
    count = synthetic["user"].value_counts()
    ratios = (_by_user(synthetic) / home).loc[lambda table: count.reindex(table.index) >= ENOUGH_IMAGES]
    found: dict[str, str] = {}
    for axis in NAMES:
        low = min(rule["user_low"], float(sessions[axis].min()) ** rule["real_margin"])
        high = max(rule["user_high"], float(sessions[axis].max()) ** rule["real_margin"])
        out = ratios[axis][(ratios[axis] < low) | (ratios[axis] > high)]
        found |= {str(user): f"{value:.2f} along {axis}" for user, value in out.items()}
    return found


def texture_gate(
    ratios: Sequence[TextureRatio],
    reference: Sequence[TextureRatio],
    n: int,
    rule: Rule,
    users: Mapping[str, str] | None = None,
) -> Gate:
    """Fine detail along time and along Doppler within the allowed range; the value is that of the worse axis.

    reference: the same ratio of the generator's real data to held-out real data. users: who fails alone, and why.
    """
    worst = int(np.argmax([abs(np.log(max(r.value, 1e-6))) for r in ratios]))
    inside = all(rule["low"] <= r.value <= rule["high"] for r in ratios)
    described = ", ".join(f"{r.value:.2f} along {r.axis}" for r in ratios)
    notes = [f"energy of fine detail over real: {described} (allowed {rule['low']:.2f} to {rule['high']:.2f})"]
    if not inside:
        notes.append("too smooth" if ratios[worst].value < 1 else "too rough")
    if users:
        notes.append("users that fail: " + ", ".join(f"{user} ({why})" for user, why in users.items()))
    value = ratios[worst]
    threshold = rule["low"] if value.value < 1 else rule["high"]
    status = PASS if inside and not users else FAIL
    ceiling = reference[worst].value
    return Gate("texture", status, value.value, value.ci_low, value.ci_high, threshold, ceiling, n, "; ".join(notes))


def _by_user(energies: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(energies.groupby("user")[NAMES].mean())

"""Block: how far synthetic features lie from real ones, beside how far recordings of the same people lie apart.

The net under all other gates: it knows no kind of fault, only that what real data do not do to each other, synthetic
data may not do to them, seen through several encoders.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from validation.context import Context
from validation.findings import Drawing, Finding
from validation.measures.distances import (
    KernelTest,
    frechet_distance,
    frechet_distance_infinite,
    kernel_test,
    polynomial_kernel,
)
from validation.measures.feature_sets import FeatureSet, balanced, feature_sets, joined
from validation.measures.neighbourhoods import NEIGHBOURS, Neighbourhoods, neighbourhoods
from validation.measures.real_distances import HIGH, person_distance, session_distances, user_ratios
from validation.networks.encoders import PIXEL_STATISTICS, EncoderUnavailable
from validation.networks.inception import NAME as INCEPTION
from validation.networks.inception import inception_score
from validation.results import FAIL, INCONCLUSIVE, PASS, UNAVAILABLE, Gate, Metric
from validation.rules import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MINIMUM = 8


@dataclass(frozen=True)
class Compared:
    """One encoder. synthetic, train: kernel distance of each to held-out real data. sessions: between random choices
    of two recordings of every user, of real data alone. reference: the distance that counts as 1. users: index user;
    ratio, ci_low, ci_high of each user by itself."""

    encoder: str
    synthetic: KernelTest
    train: KernelTest
    sessions: np.ndarray
    reference: float
    users: pd.DataFrame
    count: int
    metrics: list[Metric]

    @property
    def ratio(self) -> tuple[float, float, float]:
        """Synthetic over reference, with its interval."""
        test = self.synthetic
        return test.value / self.reference, test.ci_low / self.reference, test.ci_high / self.reference


def assess_fidelity(context: Context) -> Finding:
    """Gate `fidelity`: kernel distances in every encoder, over those between recordings of the same real people."""
    rule = context.rules["fidelity"]
    found: list[Compared] = []
    missing: list[Metric] = []
    for name in (*context.settings.encoders, INCEPTION):
        try:
            result = compare(name, feature_sets(context, name), context, rule["person_share"])
        except EncoderUnavailable as error:
            if name != INCEPTION:
                missing.append(Metric("kid", None, name, direction="lower", status=UNAVAILABLE, note=str(error)))
            continue
        if isinstance(result, Compared):
            found.append(result)
        else:
            missing.append(result)
    failing = failing_users(found, rule)
    rows = [row for compared in found for row in compared.metrics] + missing + _scores(context)
    return Finding(
        "Fidelity",
        "Kernel distance (KID) and Frechet distance of synthetic to held-out real features, for several encoders. They "
        "mean nothing alone: beside them stands how far other recordings of the same people lie, at the same N.",
        [fidelity_gate(found, failing, rule)],
        rows,
        _per_user(found),
        list(failing),
        _drawings(found, rule) if found else [],
    )


def compare(name: str, sets: dict[str, FeatureSet], context: Context, person_share: float) -> Compared | Metric:
    """All distances of one encoder; a row that says why where there are too few images."""
    users, settings, rng = context.sets.users, context.settings, context.rng(f"fidelity {name}")
    test, train, synthetic = balanced(rng, users, sets["test"], sets["train"], sets["synthetic"])
    if len(test) < MINIMUM:
        note = f"needs at least {MINIMUM} images of the same users in test, train and synthetic, found {len(test)}"
        return Metric("kid", None, name, direction="lower", status=UNAVAILABLE, note=note)
    real = joined(*(sets[role] for role in ("train", "val", "test") if role in sets))
    kernel = polynomial_kernel(real.features, real.features)
    to_synthetic = kernel_test(test.features, synthetic.features, rng, settings.bootstrap_draws)
    to_train = kernel_test(test.features, train.features, rng, settings.bootstrap_draws)
    sessions = session_distances(kernel, real, users, rng, settings.null_draws)
    least = person_share * person_distance(kernel, real, users)
    high = float(np.quantile(sessions, HIGH)) if len(sessions) else 0.0
    reference = max(high, to_train.value, least, 1e-9)
    each = user_ratios(kernel, real, sets["synthetic"], users, least, rng)
    metrics = _distance_rows(name, test, {"synthetic": synthetic, "train": train}, [to_synthetic, to_train], rng)
    metrics.append(_session_row(name, sessions, reference))
    return Compared(name, to_synthetic, to_train, sessions, reference, each, len(test), metrics)


def failing_users(found: list[Compared], rule: Rule) -> dict[str, str]:
    """Users whose lower bound is above the limit in some encoder, with the encoder that shows it most."""
    failing: dict[str, tuple[float, str]] = {}
    for compared in found:
        excess = compared.users["ci_low"] / limit_of(compared.encoder, rule)
        for user, value in excess[excess > 1].items():
            failing[str(user)] = max(failing.get(str(user), (0.0, "")), (float(value), compared.encoder))
    return {user: encoder for user, (_, encoder) in failing.items()}


def fidelity_gate(found: list[Compared], failing: dict[str, str], rule: Rule) -> Gate:
    """The encoder whose ratio is greatest for its limit decides; a user far off by itself fails the gate too.

    Fail only where the interval lies above the limit; in between, inconclusive.
    """
    if not found:
        return Gate("fidelity", UNAVAILABLE, threshold=rule["ratio"], note=f"fewer than {MINIMUM} images to compare")
    worst = max(found, key=lambda compared: compared.ratio[0] / limit_of(compared.encoder, rule))
    (value, low, high), threshold = worst.ratio, limit_of(worst.encoder, rule)
    above = [c.encoder for c in found if c.ratio[1] > limit_of(c.encoder, rule)]
    status = FAIL if above or failing else PASS if value <= threshold else INCONCLUSIVE
    notes = [f"{value:.1f} times what recordings of the same people differ by, in {worst.encoder}"]
    others = [f"{c.ratio[0]:.1f} in {c.encoder} (limit {limit_of(c.encoder, rule):g})" for c in found if c is not worst]
    notes += [", ".join(others)] if others else []
    if len(above) > 1:
        notes.append("too far in " + ", ".join(above))
    if failing:
        notes.append("users far from themselves: " + ", ".join(f"{user} ({name})" for user, name in failing.items()))
    if not len(worst.sessions):
        notes.append("each user has one recording, so the distance between train and test had to serve as reference")
    ceiling = worst.train.value / worst.reference
    return Gate("fidelity", status, value, low, high, threshold, ceiling, worst.count, "; ".join(notes))


def limit_of(encoder: str, rule: Rule) -> float:
    """The greatest allowed ratio: statistics of single pixels are given more."""
    return rule["pixel_ratio"] if encoder in PIXEL_STATISTICS else rule["ratio"]


def _distance_rows(
    name: str, test: FeatureSet, others: dict[str, FeatureSet], tests: list[KernelTest], rng: np.random.Generator
) -> list[Metric]:
    singular = "fewer images than features: only comparable at this N" if len(test) <= test.features.shape[1] else ""
    rows = []
    for (other, rival), found in zip(others.items(), tests, strict=True):
        base = Metric("kid", found.value, name, set_a="test", set_b=other, n_a=len(test), n_b=len(rival))
        base = replace(base, direction="lower")
        rows.append(replace(base, ci_low=found.ci_low, ci_high=found.ci_high))
        frechet = max(0.0, frechet_distance(test.features, rival.features))
        rows.append(replace(base, metric="frechet_distance", value=frechet, note=singular))
        infinite = frechet_distance_infinite(test.features, rival.features, rng)
        if infinite is not None:
            rows.append(replace(base, metric="frechet_distance_infinite", value=infinite, note="extrapolated"))
        if len(test) > NEIGHBOURS:
            rows += _neighbourhood_rows(base, neighbourhoods(test.features, rival.features))
    return rows


def _neighbourhood_rows(base: Metric, found: Neighbourhoods) -> list[Metric]:
    note = f"nearest {NEIGHBOURS} neighbours"
    notes = {"density": f"{note}; not bounded by 1, which equal distributions give"}
    return [
        replace(base, metric=name, value=value, direction="higher", note=notes.get(name, note))
        for name, value in vars(found).items()
    ]


def _session_row(name: str, sessions: np.ndarray, reference: float) -> Metric:
    base = Metric("kid", None, name, set_a="session", set_b="session", direction="lower", n_a=len(sessions))
    if not len(sessions):
        return replace(base, status=UNAVAILABLE, note="fewer than two users have two recordings")
    low, high = np.quantile(sessions, [1 - HIGH, HIGH])
    note = f"range between recordings of the same people, not an interval; {reference:.3g} counts as 1 in the gate"
    return replace(base, value=float(np.mean(sessions)), ci_low=float(low), ci_high=float(high), note=note)


def _scores(context: Context) -> list[Metric]:
    """Inception score of the judge's own head, which has one class per user."""
    judge, sets = context.judges[0], context.sets
    note = f"by the judge's head: at most its {len(judge.classes_)} users"
    return [
        Metric("inception_score", inception_score(judge.predict_proba(data.images)), "judge", set_b=name, n_b=len(data),
               direction="higher", note=note)
        for name, data in (("test", sets.test), ("train", sets.train), ("synthetic", sets.synthetic))
    ]  # fmt: skip


def _per_user(found: list[Compared]) -> pd.DataFrame:
    columns = {f"distance_{c.encoder}": c.users["ratio"] for c in found if not c.users.empty}
    return pd.DataFrame(columns).rename_axis("user")


def _drawings(found: list[Compared], rule: Rule) -> list[Drawing]:
    def distances() -> Figure:
        from validation.report.fidelity_figures import distance_ratios

        return distance_ratios(found, [limit_of(compared.encoder, rule) for compared in found])

    def variety() -> Figure:
        from validation.report.fidelity_figures import neighbourhood_bars

        return neighbourhood_bars([row for compared in found for row in compared.metrics])

    return [
        Drawing("kernel_distances", "Kernel distance to held-out real data, over what recordings of one person "
                "differ by (1): synthetic, the generator's real data, the range between real recordings.", distances),
        Drawing("neighbourhoods", "Precision and density ask whether synthetic features lie among real ones, recall "
                "and coverage whether real ones are reached; beside them the generator's real data.", variety),
    ]  # fmt: skip

"""Block: how far synthetic features lie from real ones, beside how far recordings of the same people lie apart.

The net under all other gates: it knows no kind of fault, only that what real data do not do to each other, synthetic
data may not do to them, seen through several encoders.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from validation.context import Context
from validation.findings import Drawing, Finding
from validation.measures.coded import Coded, balanced, coded_sets, joined
from validation.measures.distances import (
    KernelTest,
    cross_distances,
    frechet_distance,
    frechet_distance_infinite,
    half_of_each,
    kernel_test,
    paired_distances,
    polynomial_kernel,
)
from validation.measures.neighbourhoods import NEIGHBOURS, Neighbourhoods, neighbourhoods
from validation.networks.encoders import PIXEL_STATISTICS, EncoderUnavailable
from validation.networks.inception import NAME as INCEPTION
from validation.networks.inception import inception_score
from validation.results import FAIL, INCONCLUSIVE, PASS, UNAVAILABLE, Gate, Metric
from validation.rules import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MINIMUM = 8
#: Upper end of what happens between real sessions.
HIGH = 0.95
#: Halves drawn for the interval of one user.
USER_DRAWS = 60


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
            result = compare(name, coded_sets(context, name), context, rule["person_share"])
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


def compare(name: str, sets: dict[str, Coded], context: Context, person_share: float) -> Compared | Metric:
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
    persons = np.median(off_diagonal(cross_distances(kernel, *[_present(real, users)] * 2)))
    high = float(np.quantile(sessions, HIGH)) if len(sessions) else 0.0
    reference = max(high, to_train.value, person_share * float(persons), 1e-9)
    each = user_ratios(kernel, real, sets["synthetic"], users, person_share * float(persons), rng)
    metrics = _distance_rows(name, test, {"synthetic": synthetic, "train": train}, [to_synthetic, to_train], rng)
    metrics.append(_session_row(name, sessions, reference))
    return Compared(name, to_synthetic, to_train, sessions, reference, each, len(test), metrics)


def session_distances(
    kernel: np.ndarray, real: Coded, users: list[str], rng: np.random.Generator, draws: int
) -> np.ndarray:
    """Kernel distances of one recording of every user to another of the same users, chosen anew each time: [draws].

    What another day does to a set. Empty where fewer than two users have two recordings of two windows or more.
    """
    units = [_units(real, user) for user in users]
    units = [choice for choice in units if len(choice) > 1]
    if len(units) < 2:
        return np.empty(0)
    first, second = (np.zeros((draws, len(real)), bool) for _ in range(2))
    for draw in range(draws):
        for choice in units:
            one, other = rng.choice(len(choice), 2, replace=False)
            first[draw] |= choice[one]
            second[draw] |= choice[other]
    return paired_distances(kernel, first, second)


def user_ratios(
    kernel: np.ndarray, real: Coded, synthetic: Coded, users: list[str], least: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Each user's synthetic rows against the same user's real ones: index user; ratio, ci_low, ci_high.

    Over the greatest distance between two recordings of this user, over the upper end of all users' ones, and over
    `least`, whichever is greatest. Users with fewer than four rows on a side are left out.
    """
    apart = {user: _distances_between(kernel, _units(real, user)) for user in users}
    known = [value for values in apart.values() for value in values]
    usual = float(np.quantile(known, HIGH)) if known else 0.0
    rows = {}
    for user in users:
        mine, fake = real.features[real.users == user], synthetic.features[synthetic.users == user]
        if min(len(mine), len(fake)) < 4:
            continue
        both = np.concatenate([mine, fake])
        side = np.repeat((np.arange(len(both)) < len(mine))[None], USER_DRAWS + 1, axis=0)
        halves = (
            np.concatenate([side[:1], half_of_each(side[1:], rng)]),
            np.concatenate([~side[:1], half_of_each(~side[1:], rng)]),
        )
        value, *drawn = paired_distances(polynomial_kernel(both, both), *halves)
        scale, margin = max(usual, least, 1e-9, *apart[user]), 1.96 * float(np.std(drawn))
        rows[user] = (value / scale, (value - margin) / scale, (value + margin) / scale)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["ratio", "ci_low", "ci_high"])


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


def off_diagonal(matrix: np.ndarray) -> np.ndarray:
    """The entries of a square matrix beside its diagonal."""
    return matrix[~np.eye(len(matrix), dtype=bool)]


def _present(real: Coded, users: list[str]) -> np.ndarray:
    members = real.members(users)
    return members[members.sum(axis=1) > 1]


def _units(real: Coded, user: str) -> list[np.ndarray]:
    """Rows of each recording of a user that has two or more: list of bool [N]."""
    masks = [real.units == unit for unit in np.unique(real.units[real.users == user])]
    return [mask for mask in masks if mask.sum() > 1]


def _distances_between(kernel: np.ndarray, units: list[np.ndarray]) -> np.ndarray:
    if len(units) < 2:
        return np.empty(0)
    rows = np.flatnonzero(np.any(units, axis=0))
    kernel, pairs = kernel[np.ix_(rows, rows)], list(combinations([unit[rows] for unit in units], 2))
    return paired_distances(kernel, *(np.stack(side) for side in zip(*pairs, strict=True)))


def _distance_rows(
    name: str, test: Coded, others: dict[str, Coded], tests: list[KernelTest], rng: np.random.Generator
) -> list[Metric]:
    singular = "fewer images than features: only comparable at this N" if len(test) <= test.features.shape[1] else ""
    rows = []
    for (other, coded), found in zip(others.items(), tests, strict=True):
        base = Metric("kid", found.value, name, set_a="test", set_b=other, n_a=len(test), n_b=len(coded))
        base = replace(base, direction="lower")
        note = f"p = {found.p_value:.3g} for equal distributions"
        rows.append(replace(base, ci_low=found.ci_low, ci_high=found.ci_high, note=note))
        frechet = max(0.0, frechet_distance(test.features, coded.features))
        rows.append(replace(base, metric="frechet_distance", value=frechet, note=singular))
        infinite = frechet_distance_infinite(test.features, coded.features, rng)
        if infinite is not None:
            rows.append(replace(base, metric="frechet_distance_infinite", value=infinite, note="extrapolated"))
        if len(test) > NEIGHBOURS:
            rows += _neighbourhood_rows(base, neighbourhoods(test.features, coded.features))
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

"""How far synthetic features lie from real ones, always beside how far real ones lie from other real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from mdgen.data.dataset import SpectrogramSet
from validation.distances import frechet_distance, kernel_distance, kernel_test, standardise
from validation.encoders import Encoder
from validation.results import Metric
from validation.sets import Sets

MINIMUM = 8


@dataclass(frozen=True)
class Fidelity:
    """Metrics of one encoder. halves: kernel distances of random halves of held-out real data.
    cross: kernel distance of synthetic (rows) to real (columns) of each user; empty where users are too small."""

    encoder: str
    metrics: list[Metric]
    halves: list[float]
    cross: pd.DataFrame


def compare(
    name: str, encoder: Encoder, sets: Sets, limit: int, draws: int, null_draws: int, rng: np.random.Generator
) -> Fidelity:
    """Kernel and Frechet distance of `test` to the synthetic set and, at equal N, to `train` and between halves."""
    test, train = (_balanced(s, sets.users, limit, rng) for s in (sets.test, sets.train))
    synthetic = _balanced(sets.synthetic, sets.users, limit, rng)
    held_out = sets.real.role("judge", "val")
    reference = _balanced(held_out if len(held_out) >= MINIMUM else sets.train, sets.real.users, limit, rng)
    coded = standardise(*(encoder(s.images) for s in (reference, test, synthetic, train)))
    real, fake, other = coded
    count = min(len(real), len(fake), len(other))
    if count < MINIMUM:
        note = f"needs at least {MINIMUM} images in test, train and synthetic, the smallest has {count}"
        missing = Metric("kid", None, name, direction="lower", status="unavailable", note=note)
        return Fidelity(name, [missing], [], pd.DataFrame())
    cross = _cross(test, real, synthetic, fake, sets.users)
    real, fake, other = (_some(f, count, rng) for f in (real, fake, other))
    metrics = _rows(name, "synthetic", real, fake, draws, rng) + _rows(name, "train", real, other, draws, rng)
    halves = [_halves(real, rng) for _ in range(null_draws)]
    metrics.append(_null_row(name, [h[0] for h in halves], "kid", count // 2))
    metrics.append(_null_row(name, [h[1] for h in halves], "frechet_distance", count // 2))
    return Fidelity(name, metrics + _cross_rows(name, cross), [h[0] for h in halves], cross)


def _rows(
    name: str, other: str, real: np.ndarray, fake: np.ndarray, draws: int, rng: np.random.Generator
) -> list[Metric]:
    test = kernel_test(real, fake, rng, draws)
    base = Metric("kid", test.value, name, set_a="test", set_b=other, n_a=len(real), n_b=len(fake), direction="lower")
    singular = "fewer images than features: only comparable at this N" if len(real) <= real.shape[1] else ""
    note = f"p = {test.p_value:.3g} for equal distributions"
    return [
        replace(base, ci_low=test.ci_low, ci_high=test.ci_high, note=note),
        replace(base, metric="frechet_distance", value=max(0.0, frechet_distance(real, fake)), note=singular),
    ]


def _halves(real: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    order = rng.permutation(len(real))
    a, b = real[order[: len(real) // 2]], real[order[len(real) // 2 :]]
    return kernel_distance(a, b), frechet_distance(a, b)


def _null_row(name: str, values: Sequence[float], metric: str, count: int) -> Metric:
    low, high = np.quantile(values, [0.025, 0.975])
    return Metric(
        metric, float(np.mean(values)), name, set_a="test", set_b="test", ci_low=float(low), ci_high=float(high),
        n_a=count, n_b=count, direction="lower", note="random halves: range, not interval, of the null",
    )  # fmt: skip


def _cross(
    test: SpectrogramSet, real: np.ndarray, synthetic: SpectrogramSet, fake: np.ndarray, users: Sequence[str]
) -> pd.DataFrame:
    """Kernel distance of every synthetic user to every real one: the diagonal should be the smallest of its row."""
    test_users, fake_users = test.table["user"].to_numpy(), synthetic.table["user"].to_numpy()
    parts_real = {u: real[test_users == u] for u in users}
    parts_fake = {u: fake[fake_users == u] for u in users}
    if min(len(p) for p in [*parts_real.values(), *parts_fake.values()]) < 2:
        return pd.DataFrame()
    values = [[kernel_distance(parts_fake[u], parts_real[v]) for v in users] for u in users]
    return pd.DataFrame(values, index=list(users), columns=list(users))


def _cross_rows(name: str, cross: pd.DataFrame) -> list[Metric]:
    if cross.empty:
        return []
    own = cross.idxmin(axis=1) == cross.index
    note = "synthetic users whose closest real user is themselves, without any judge"
    share = Metric("own_user_is_closest", float(own.mean()), name, direction="higher", n_a=len(own), note=note)
    base = Metric("kid", None, name, "user", set_a="test", set_b="synthetic", direction="lower")
    diagonal = np.diag(cross.to_numpy())
    each = [replace(base, user=str(u), value=float(v)) for u, v in zip(cross.index, diagonal, strict=True)]
    return [share, *each]


def _balanced(data: SpectrogramSet, users: Sequence[str], limit: int, rng: np.random.Generator) -> SpectrogramSet:
    """At most `limit` rows, about equally many of each of `users`."""
    names = data.table["user"].to_numpy()
    share = max(2, limit // max(1, len(users)))
    rows = [rng.permutation(np.flatnonzero(names == user))[:share] for user in users]
    return data.select(np.sort(np.concatenate(rows).astype(int)))


def _some(features: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    return features[rng.permutation(len(features))[:count]]

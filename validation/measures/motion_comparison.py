"""A set of windows beside the real sessions: every number the gate `kinematics` asks for, and what real ones reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from validation.measures.motion_distance import (
    DIRECTED,
    SCALED,
    Windows,
    direction,
    fresh_session_limit,
    joint_distances,
    set_distances,
    signed_shift,
)
from validation.measures.plausibility import learn_bounds
from validation.measures.resampling import Interval
from validation.rules import Rule


@dataclass(frozen=True)
class Comparison:
    """One set of windows against the real sessions.

    distances: over the typical session distance, index user. shifts, directions: by quantity. measurable: share of the
    windows in which each quantity can be measured, over the real share. reasons: why a window is implausible, "" where
    it is not. joint: `joint_distances` by user.
    """

    distances: pd.DataFrame
    shifts: dict[str, Interval]
    directions: dict[str, float]
    measurable: pd.Series
    reasons: pd.Series
    joint: pd.Series

    @property
    def pooled(self) -> pd.Series:
        """Mean distance over users, by quantity."""
        return self.distances.mean()

    @property
    def per_user(self) -> pd.Series:
        """Mean distance over quantities, by user."""
        return self.distances.mean(axis="columns")

    @property
    def implausible_share(self) -> float:
        return float((self.reasons != "").mean())

    def implausible_of(self, users: np.ndarray) -> pd.Series:
        """Share of implausible windows, by user; users: text [N]."""
        return (self.reasons != "").groupby(users).mean()


@dataclass(frozen=True)
class Reach:
    """What real sessions themselves reach: `pooled` over users in one quantity, `user` over quantities for one user,
    `quantity` for one user in one quantity; `joint`: what one session in ten exceeds in `joint_distances`, as single
    sessions are farther out than the several of a candidate."""

    pooled: float
    user: float
    quantity: float
    joint: float


def compare(candidate: Windows, real: Windows, typical: pd.Series, users: Sequence[str], rule: Rule) -> Comparison:
    """Everything the gate asks of `candidate`. typical: session distances, by the quantities to compare."""
    quantities = list(typical.index)
    shifts = {q: signed_shift(candidate, real, q, users) for q in SCALED if q in quantities}
    ways = {q: direction(candidate, real, q, users, rule["min_signal"]) for q in DIRECTED if _directed(q, real)}
    bounds = learn_bounds(real.where(real.role != "test").values, quantities, real.scales)
    return Comparison(
        set_distances(candidate, real, quantities, users) / typical,
        {q: shift for q, shift in shifts.items() if shift is not None},
        {q: way for q, way in ways.items() if way is not None},
        candidate.values[quantities].notna().mean() / real.values[quantities].notna().mean(),
        bounds.outside(candidate.values),
        joint_distances(candidate, real, users, rule["measurable"])[0],
    )


def real_reach(relative: pd.DataFrame, joint: pd.Series, rng: np.random.Generator) -> Reach:
    """From the session distances over the typical ones, and the joint ones of sessions, index (user, unit)."""
    worst = float(np.nanmax(relative.to_numpy(float)))
    together = float(joint.quantile(0.9)) if len(joint) else 0.0
    return Reach(fresh_session_limit(relative, rng), float(relative.mean(axis="columns").max()), worst, together)


def _directed(name: str, real: Windows) -> bool:
    return name != "torso_velocity" or real.scales.physical

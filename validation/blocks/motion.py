"""Block: is it still walking, and this person's walking? Kinematics of synthetic windows beside real sessions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from validation.context import Context
from validation.findings import Drawing, Finding
from validation.measures.motion_comparison import Comparison, Reach, compare, real_reach
from validation.measures.motion_distance import (
    Windows,
    compared_quantities,
    joint_distances,
    known_roles,
    measure_windows,
    session_distances,
    typical_distances,
)
from validation.measures.resampling import Interval
from validation.measures.scales import QUANTITIES, has_axes
from validation.results import FAIL, PASS, UNAVAILABLE, Gate, Metric
from validation.rules import Rule
from validation.sets import ENOUGH_IMAGES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Kinematics"
INTRO = (
    "Torso, envelopes, cadence and continuity, read back from every window. A distance of 1 is how far a real session "
    "typically is from the same person's others; the limit allows for what one fresh real session can reach."
)
MIN_SIDE = 16
DRAWN = ("torso_velocity", "step_period", "bandwidth", "foot_lag", "upper_envelope", "continuity")
MAX_DRAWN_USERS = 16


def assess_kinematics(context: Context) -> Finding:
    """Gate `kinematics`: distances to real sessions, signed shifts, directions, share of windows no walk could make."""
    sets, rule = context.sets, context.rules["kinematics"]
    data = known_roles(sets.real, sets.users)
    physical = has_axes(data) and has_axes(sets.synthetic)
    if min(sets.real.images.shape[-2:]) < MIN_SIDE:
        return _unavailable(f"images are smaller than {MIN_SIDE} pixels a side")
    context.say(f"kinematics of {len(data) + len(sets.synthetic)} windows")
    key = ("kinematics", physical, tuple(sets.users))
    real = context.once(key, lambda: measure_windows(data, physical))
    synthetic = measure_windows(sets.synthetic, physical)
    quantities = compared_quantities(real, rule["measurable"])
    sessions = session_distances(real, quantities)
    if not np.isfinite(sessions.to_numpy(float)).any():
        return _unavailable("no user has two sessions or recordings of five windows to compare")
    typical = typical_distances(sessions, real.scales)
    joint = joint_distances(real, real, sets.users, rule["measurable"])[1]
    reach = real_reach(sessions / typical, joint, context.rng("kinematics"))
    found = compare(synthetic, real, typical, sets.users, rule)
    if found.distances.isna().to_numpy().all():
        return _unavailable("every user has fewer than five synthetic windows")
    held_out, rest = real.role == "test", real.role != "test"
    ceiling = compare(real.where(held_out), real.where(rest), typical, sets.users, rule)
    users = failing_users(found, reach, rule, synthetic)
    drawings = _drawings(context, real, synthetic, found)
    return Finding(
        TITLE,
        INTRO,
        gates=[kinematics_gate(found, ceiling, reach, users, rule, physical)],
        metrics=[*_metrics(found, "synthetic", len(synthetic.user)), *_metrics(ceiling, "test", int(held_out.sum()))],
        per_user=per_user_table(found, ceiling, synthetic),
        failed_users=list(users),
        drawings=drawings,
        warnings=[] if physical else ["kinematics: axes are unknown; velocities are in rows and times in columns"],
        implausible={row: reason for row, reason in enumerate(found.reasons) if reason},
    )


def failing_users(found: Comparison, reach: Reach, rule: Rule, synthetic: Windows) -> dict[str, str]:
    """User -> why, where a user's windows are farther from the real ones than any real session by a margin, or where
    most of them are implausible."""
    margin = rule["real_margin"]
    overall, single = max(rule["user"], margin * reach.user), max(rule["user_quantity"], margin * reach.quantity)
    together = max(rule["user_joint"], margin * reach.joint)
    implausible = found.implausible_of(synthetic.user)
    users = {}
    for user, row in found.distances.iterrows():
        if (synthetic.user == user).sum() < ENOUGH_IMAGES or row.isna().all():
            continue
        if row.mean() > overall or row.max() > single:
            users[str(user)] = f"{QUANTITIES[str(row.idxmax())].label} at {row.max():.1f}"
        elif found.joint.get(user, 0.0) > together:
            users[str(user)] = f"speed, cadence and bandwidth together at {found.joint[user]:.1f}"
        elif implausible[user] > rule["implausible_user"]:
            users[str(user)] = f"{implausible[user]:.0%} implausible"
    return users


def kinematics_gate(
    found: Comparison, ceiling: Comparison, reach: Reach, users: dict[str, str], rule: Rule, physical: bool
) -> Gate:
    """The gate; its value is the greatest distance in one quantity, pooled over users."""
    limit = max(rule["distance"], rule["real_margin"] * reach.pooled)
    faults = [
        *_far(found.pooled, limit),
        *_shifted(found.shifts, rule),
        *_reversed(found.directions, rule),
        *_unmeasurable(found.measurable, rule),
        *_impossible(found, ceiling, rule),
    ]
    if users:
        faults.append("users that fail: " + ", ".join(f"{user} ({why})" for user, why in users.items()))
    worst = str(found.pooled.idxmax())
    column = found.distances[worst].dropna()
    value, low, high = _mean_interval(column.to_numpy())
    notes = faults or [f"farthest in {QUANTITIES[worst].label}", _shift_words(found.shifts)]
    notes.append(f"{found.implausible_share:.1%} implausible windows, real {ceiling.implausible_share:.1%}")
    left_out = [QUANTITIES[q].label for q in QUANTITIES if q not in found.pooled.index]
    if left_out:
        notes.append("not measurable in real windows, left out: " + ", ".join(left_out))
    if not physical:
        notes.append("axes unknown, measured in pixels")
    status = FAIL if faults else PASS
    real = _finite(ceiling.pooled.get(worst))
    return Gate(
        "kinematics", status, value, low, high, limit, real, len(found.reasons),
        "; ".join(filter(None, notes)),
    )  # fmt: skip


def per_user_table(found: Comparison, ceiling: Comparison, synthetic: Windows) -> pd.DataFrame:
    """Index user: mean distance, the same of held-out real windows, farthest quantity, share of implausible ones."""
    farthest = {user: QUANTITIES[str(row.idxmax())].label for user, row in found.distances.dropna(how="all").iterrows()}
    return pd.DataFrame(
        {
            "motion_distance": found.per_user,
            "motion_distance_real": ceiling.per_user,
            "motion_farthest": pd.Series(farthest, dtype=object),
            "implausible_share": found.implausible_of(synthetic.user),
        }
    ).rename_axis("user")


def _far(pooled: pd.Series, limit: float) -> list[str]:
    far = pooled[pooled > limit].sort_values(ascending=False)
    if far.empty:
        return []
    names = ", ".join(f"{QUANTITIES[str(q)].label} {value:.1f}" for q, value in far.head(4).items())
    return [f"farther from real than real sessions from each other (limit {limit:.1f}): {names}"]


def _shifted(shifts: dict[str, Interval], rule: Rule) -> list[str]:
    limits = {q: rule["bandwidth_shift" if q == "bandwidth" else "shift"] for q in shifts}
    moved = {q: s for q, s in shifts.items() if s.low > limits[q] or s.high < -limits[q]}
    return [f"scaled for everybody: {_shift_words(moved)}"] if moved else []


def _shift_words(shifts: dict[str, Interval]) -> str:
    return ", ".join(f"{QUANTITIES[q].label} {s.value:+.1%} ({s.low:+.1%} to {s.high:+.1%})" for q, s in shifts.items())


def _reversed(directions: dict[str, float], rule: Rule) -> list[str]:
    words = {"torso_velocity": "walking direction", "lead": "Doppler axis", "foot_lag": "time"}
    wrong = {q: value for q, value in directions.items() if value < rule["direction"]}
    return [f"direction lost or reversed ({words[q]} {value:+.2f}, real 1)" for q, value in wrong.items()]


def _unmeasurable(measurable: pd.Series, rule: Rule) -> list[str]:
    lost = measurable[measurable < rule["still_measurable"]]
    if lost.empty:
        return []
    names = ", ".join(f"{QUANTITIES[str(q)].label} ({share:.0%})" for q, share in lost.items())
    return [f"measurable in fewer windows than real ones: {names}"]


def _impossible(found: Comparison, ceiling: Comparison, rule: Rule) -> list[str]:
    usual = _finite(ceiling.implausible_share) or 0.0
    if found.implausible_share <= usual + rule["implausible"]:
        return []
    return ["windows that no real one resembles"]


def _metrics(found: Comparison, name: str, count: int) -> list[Metric]:
    def row(metric: str, scope: object, value: float, better: str) -> Metric:
        found_value = _finite(value)
        return Metric(metric, found_value, scope=str(scope), set_a="real", set_b=name, n_b=count, direction=better)

    rows = [row("motion_distance", q, value, "lower") for q, value in found.pooled.items()]
    rows += [
        replace(row("motion_shift", q, s.value, ""), ci_low=s.low, ci_high=s.high) for q, s in found.shifts.items()
    ]
    rows += [row("motion_direction", q, value, "one") for q, value in found.directions.items()]
    rows += [row("motion_measurable", q, value, "one") for q, value in found.measurable.items()]
    return [*rows, row("implausible_share", "all", found.implausible_share, "lower")]


def _mean_interval(values: np.ndarray) -> tuple[float, float | None, float | None]:
    """(mean, 95 % interval) of distances, one per user; None for one user."""
    mean = float(values.mean())
    if len(values) < 2:
        return mean, None, None
    error = 1.96 * float(values.std(ddof=1)) / np.sqrt(len(values))
    return mean, max(mean - error, 0.0), mean + error


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None


def _unavailable(reason: str) -> Finding:
    return Finding(TITLE, INTRO, [Gate("kinematics", UNAVAILABLE, note=reason)])


def _drawings(context: Context, real: Windows, synthetic: Windows, found: Comparison) -> list[Drawing]:
    sets = context.sets
    order = [str(user) for user in found.per_user.sort_values(ascending=False, na_position="last").index]
    worst = [user for user in sets.users if user in order[:MAX_DRAWN_USERS]]
    shown = [q for q in DRAWN if q in found.pooled.index and synthetic.values[q].notna().any()][:4]
    ends = list(dict.fromkeys([order[0], order[-1]]))

    def draw_distributions() -> Figure:
        from validation.report.motion_figures import distributions

        return distributions(real, synthetic, shown, worst)

    def draw_traces() -> Figure:
        from validation.report.motion_figures import traces

        return traces(sets.test, sets.synthetic, ends, real.scales.physical)

    return [
        Drawing("kinematics", "Measured motion of each user: real windows beside synthetic ones.", draw_distributions),
        Drawing("motion_traces", "Torso ridge and envelopes as measured: farthest and closest user.", draw_traces),
    ]

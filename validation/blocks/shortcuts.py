"""Block: identity in what is not motion, and whether the synthetic background lies where real sessions' does.

A small model on floor, peak, quiet rows, corners and marks alone (`measures.background`), learned from real rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mdgen.data.dataset import ROLES
from validation.context import Context
from validation.findings import Drawing, Finding
from validation.measures.recognition import effective_count, wilson_interval
from validation.measures.resampling import users_interval
from validation.networks.background_model import (
    WITHIN_LEAST,
    Described,
    RealBackground,
    Shifts,
    Within,
    commonest,
    identity_within,
)
from validation.results import FAIL, PASS, Gate, Metric, unavailable
from validation.rules import Rule
from validation.sets import ENOUGH_IMAGES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Shortcuts"
INTRO = "How well users are told apart by what is not motion: floor, peak, quiet rows, corners, the zero-Doppler line."
MIN_LEARN, MIN_TEST, MIN_SIDE = 24, 16, 16
NAMED_SHIFTS = 4


@dataclass(frozen=True)
class Measured:
    """Of the synthetic set, per user: recognised by background, by the background of its other half (and as much within
    one real recording), distances from real sessions, spread of levels over real, images; and of the real data the same
    to compare with, chance among it.
    """

    real: RealBackground
    transfer: pd.Series
    within: Within | None
    real_within: Within | None
    shifts: Shifts
    level_spread: pd.Series
    counts: pd.Series

    @property
    def count(self) -> int:
        return int(self.counts.sum())

    @property
    def chance(self) -> float:
        return 1 / len(self.real.model.classes_)


def assess_shortcuts(context: Context) -> Finding:
    """Gate `shortcuts`, and a warning where real data themselves give users away by their background."""
    if reason := _unfit(context):
        return Finding(TITLE, INTRO, [unavailable("shortcuts", reason)])
    rule, judge = context.rules["shortcuts"], context.recognition(context.sets.test).macro
    found = _measure(context)
    users = failing_users(found, rule)
    table = pd.DataFrame({"background_shift": found.shifts.per_user, "background_shift_of": found.shifts.per_user_of})
    return Finding(
        TITLE,
        INTRO,
        gates=[_gate(found, users, rule)],
        metrics=_metrics(found),
        per_user=table,
        failed_users=list(users),
        drawings=[Drawing("shortcuts", INTRO, lambda: _draw(found, judge))],
        warnings=dataset_warnings(found.real.test.mean(), judge, found.chance, rule, context.sets.real.table),
    )


def failing_users(found: Measured, rule: Rule) -> dict[str, str]:
    """User -> why: its background lies farther from its real sessions than half as far again as any real session lies
    from the others, or its rows have the same level in every image."""
    limit = max(rule["user_shift"], 1.5 * float(found.real.sessions.max()))
    far = found.shifts.per_user
    reasons = {str(user): str(found.shifts.per_user_of[user]) for user in far.index[far > limit]}
    frozen = found.level_spread.index[found.level_spread < rule["level_spread"]]
    return {str(user): "levels that never differ" for user in frozen} | reasons


def exceeds(synthetic: pd.Series, real: pd.Series, margin: float) -> bool:
    """Whether accuracy per user is higher on synthetic than on real by more than `margin`, with 95 % confidence."""
    difference = (synthetic - real).dropna().to_numpy()
    return bool(len(difference) > 1 and users_interval(difference, 0.0)[0] > margin)


def dataset_warnings(background: float, judge: float, chance: float, rule: Rule, table: pd.DataFrame) -> list[str]:
    """Shortcuts of the real data themselves: accuracies on held-out real rows above chance that rival the judge's."""
    rivalling = chance + max(rule["rival"] * (judge - chance), 0.1)
    found = {"background": background, "device": device_accuracy(table)}
    return [
        f"real data have a shortcut: {name} alone recognises {value:.0%} of held-out images, the judge {judge:.0%}"
        for name, value in found.items()
        if value is not None and value > rivalling
    ]


def device_accuracy(table: pd.DataFrame) -> float | None:
    """Share of test rows whose user is the commonest of their `device` among the other rows; None without devices."""
    if "device" not in table.columns or (table["device"] == "").all():
        return None
    test = table["split"] == "test"
    usual = table[~test].groupby("device")["user"].agg(commonest)
    return float((table["device"][test].map(usual) == table["user"][test]).mean())


def _unfit(context: Context) -> str:
    """Why nothing can be measured, "" where it can."""
    sets, side = context.sets, min(context.sets.real.images.shape[-2:])
    most = int(sets.synthetic.table["user"].value_counts().max())
    needs = {
        f"{len(sets.judge)} real images to learn from": len(sets.judge) >= MIN_LEARN,
        f"{len(sets.test)} held out": len(sets.test) >= MIN_TEST,
        f"images of {side} pixels a side": side >= MIN_SIDE,
        f"{most} synthetic images of a user": most >= ENOUGH_IMAGES,
    }
    lacking = ", ".join(what for what, enough in needs.items() if not enough)
    return f"too little: {lacking}" if lacking else ""


def _measure(context: Context) -> Measured:
    sets = context.sets
    real = context.once(("shortcuts", *sets.users), lambda: _learn(context))
    synthetic = real.describe(sets.synthetic)
    users = synthetic.users_with(WITHIN_LEAST)
    real_within = context.once(("within one recording", *users), lambda: real.within(users))
    return Measured(
        real,
        real.transfer(synthetic),
        _same_users(synthetic, real_within, real.seed),
        real_within,
        real.shifts(synthetic),
        real.level_spread(synthetic),
        sets.synthetic.table["user"].value_counts(),
    )


def _same_users(synthetic: Described, real: Within | None, seed: int) -> Within | None:
    """Identity within the synthetic set, of the users known within one real recording: fewer are easier told apart."""
    if real is None:
        return None
    rows = np.isin(synthetic.users, real.accuracy.index)
    return identity_within(synthetic.statistics[rows], synthetic.users[rows], real.count, seed)


def _learn(context: Context) -> RealBackground:
    context.say("background statistics of real images")
    rows = context.sets.real.role(*ROLES).of_users(context.sets.users)
    return RealBackground(context.sets.judge, rows, context.settings.seed)


def _gate(found: Measured, users: dict[str, str], rule: Rule) -> Gate:
    notes = _faults(found, users, rule)
    status = FAIL if notes else PASS
    value, ceiling = float(found.transfer.mean()), float(found.real.unseen.mean())
    low, high = wilson_interval(value, effective_count(found.counts))
    notes.append(f"recognised by background alone: {value:.0%}, real {ceiling:.0%}, chance {found.chance:.0%}")
    if left := found.counts.index.difference(found.within.accuracy.index if found.within else []).tolist():
        notes.append("too few images within one recording or made, not told apart there: " + ", ".join(left))
    limit = ceiling + rule["margin"]
    return Gate("shortcuts", status, value, low, high, limit, ceiling, found.count, "; ".join(notes), found.chance)


def _faults(found: Measured, users: dict[str, str], rule: Rule) -> list[str]:
    real, within, real_within, notes = found.real, found.within, found.real_within, []
    if exceeds(found.transfer, real.unseen, rule["margin"]):
        notes.append("background gives users away better than in real sessions")
    if within and real_within and exceeds(within.accuracy, real_within.accuracy, rule["margin"]):
        notes.append(
            f"background tells users apart in {within.mean:.0%} of images ({real_within.mean:.0%} within one recording)"
        )
    table = found.shifts.table
    moved = table["value"][np.maximum(table["ci_low"], -table["ci_high"]) > rule["shift"]]
    if len(moved) and len(found.shifts.per_user) > 1:  # a single user has limits of its own
        farthest = moved[moved.abs().sort_values(ascending=False).index[:NAMED_SHIFTS]]
        named = ", ".join(f"{name} ({value:+.1f} deviations)" for name, value in farthest.items())
        notes.append(f"shifted from all real sessions: {named}")
    if users_interval(found.level_spread.to_numpy(), 0.0)[1] < rule["level_spread"]:
        notes.append("every image of a user has the same level in each row, as if one session were planted")
    if users:
        notes.append("users that fail: " + ", ".join(f"{user} ({why})" for user, why in users.items()))
    return notes


def _metrics(found: Measured) -> list[Metric]:
    real, tested = found.real, int((found.real.roles == "test").sum())
    rows = [
        Metric("shortcut_accuracy", float(values.mean()), set_a="judge", set_b=name, n_b=count, direction="lower")
        for name, values, count in (("test", real.test, tested), ("synthetic", found.transfer, found.count))
    ]
    for name, half in (("one recording", found.real_within), ("synthetic", found.within)):
        if half:
            rows.append(Metric("shortcut_accuracy_within", half.mean, set_a=name, set_b=name, direction="lower"))
    for statistic, (value, low, high) in found.shifts.table.iterrows():
        rows.append(Metric("background_shift", value, scope=str(statistic), ci_low=low, ci_high=high))
    spread = found.level_spread.to_numpy()
    low, high = users_interval(spread, 0.0)
    return [*rows, Metric("level_spread", float(spread.mean()), ci_low=low, ci_high=high, direction="one")]


def _draw(found: Measured, judge: float) -> Figure:
    from matplotlib.figure import Figure

    from validation.report.figures import GRAY, REAL, SYNTHETIC

    bars = {
        "chance": (found.chance, GRAY),
        "judge, real": (judge, REAL),
        "background, real": (float(found.real.test.mean()), REAL),
        "background, synthetic": (float(found.transfer.mean()), SYNTHETIC),
    }
    figure = Figure(figsize=(9.6, 4.6))
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
    left.barh(list(bars), [value for value, _ in bars.values()], color=[colour for _, colour in bars.values()])
    left.invert_yaxis()
    left.set(xlim=(0, 1), xlabel="users recognised")
    table, place = found.shifts.table, np.arange(len(found.shifts.table))
    error = [table["value"] - table["ci_low"], table["ci_high"] - table["value"]]
    right.errorbar(table["value"], place, xerr=error, fmt="o", color=SYNTHETIC, capsize=2)
    right.axvline(0, color=GRAY, linewidth=1)
    right.set(yticks=place, xlabel="shift, in standard deviations between real sessions")
    right.set_yticklabels(table.index, fontsize=8)
    right.invert_yaxis()
    figure.tight_layout()
    return figure

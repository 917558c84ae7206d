"""Do synthetic windows help beside real ones? Gains at every budget of real windows, from paired learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from validation.measures.learning import RATIOS, REAL, SHIFTED, Curve, macro
from validation.measures.resampling import Interval
from validation.results import ADVISORY, FAIL, INCONCLUSIVE, PASS, Gate, Metric
from validation.rules import Rule


@dataclass(frozen=True)
class Gain:
    """What synthetic windows add at one budget of real windows per user.

    arm, baseline: the best with and without them on role val. alone: accuracy of the baseline on unseen windows.
    difference: float [draws, N], of the two on the same windows and draws.
    """

    budget: int
    arm: str
    baseline: str
    alone: float
    difference: np.ndarray


def gains(unseen: Curve, users: np.ndarray, val_accuracy: dict[tuple[int, str], float]) -> list[Gain]:
    """One per budget, in order. unseen: right or wrong on windows of `users` [N]. val_accuracy: chooses the arms; where
    it is empty, time shifts are the baseline and the first ratio is taken."""
    found = []
    for budget in sorted({budget for budget, _ in unseen}):
        arm, baseline = (_best(val_accuracy, budget, arms) for arms in (tuple(RATIOS), (SHIFTED, REAL)))
        difference = unseen[budget, arm].astype(float) - unseen[budget, baseline]
        found.append(Gain(budget, arm, baseline, macro(unseen[budget, baseline], users), difference))
    return found


def small_gain(found: Sequence[Gain], few_windows: float) -> Gain:
    """The mean over budgets of at most `few_windows`, the last (all real windows) left out unless it is alone."""
    few = [gain for gain in found[:-1] if gain.budget <= few_windows] or found[-1:]
    return Gain(
        few[-1].budget,
        ", ".join(dict.fromkeys(gain.arm for gain in few)),
        ", ".join(dict.fromkeys(gain.baseline for gain in few)),
        float(np.mean([gain.alone for gain in few])),
        np.mean([gain.difference for gain in few], axis=0),
    )


def augmentation_gate(
    few: Gain,
    intervals: tuple[Interval, Interval],
    full: Gain,
    gained_full: Interval,
    rule: Rule,
    advisory: str = "",
) -> Gate:
    """Synthetic windows help where real ones are few.

    intervals: `macro_intervals` of the gain `few`. Pass: the lower bound for these users is not negative. Fail: the
    upper bound is negative even allowing for other users. Where real windows alone leave nothing to gain, only harm is
    looked for. gained_full: the same beside all real windows, for the note.
    """
    gained, elsewhere = intervals
    threshold = rule["threshold"]
    notes = [
        f"{gained.value:+.1%} with up to {few.budget} real windows per user, which reach {few.alone:.0%} without "
        f"({few.arm}, against {few.baseline})"
    ]
    if elsewhere.high < threshold:
        status = FAIL
        notes.append("synthetic windows hurt")
    elif gained.low >= threshold:
        status = PASS
    elif few.alone >= rule["nothing_to_gain"]:
        status = ADVISORY
        notes.append("few real windows leave nothing to gain")
    else:
        status = INCONCLUSIVE
        harm = "they hurt these users, others perhaps not"
        notes.append(harm if gained.high < threshold else "the interval holds zero")
    notes.append(
        f"{gained_full.value:+.1%} ({gained_full.low:+.1%} to {gained_full.high:+.1%}) beside all {full.budget}, the "
        "fair comparison, since the generator learned from all of them"
    )
    if advisory:
        status = FAIL if status == FAIL else ADVISORY
        notes.append(advisory)
    count = few.difference.shape[1]
    return Gate(
        "augmentation_gain", status, gained.value, gained.low, gained.high, threshold, n=count, note="; ".join(notes)
    )


def curve_rows(unseen: Curve, users: np.ndarray) -> list[Metric]:
    """Accuracy of every arm at every budget, with the deviation over draws."""
    return [
        Metric(
            "learning_curve", macro(right, users), "linear discriminant", scope=f"{budget} real windows per user",
            set_a=arm, set_b="test", n_b=len(users), direction="higher",
            note=f"deviation over {len(right)} draws {draw_macros(right, users).std():.3f}",
        )
        for (budget, arm), right in unseen.items()
    ]  # fmt: skip


def gain_rows(found: Sequence[Gain], intervals: Sequence[Interval]) -> list[Metric]:
    """The gain at every budget with its interval."""
    return [
        Metric(
            "augmentation_gain", gained.value, "linear discriminant", scope=f"{gain.budget} real windows per user",
            set_a=gain.arm, set_b=gain.baseline, ci_low=gained.low, ci_high=gained.high, n_b=gain.difference.shape[1],
            direction="higher", note=f"{gain.alone:.3f} without",
        )
        for gain, gained in zip(found, intervals, strict=True)
    ]  # fmt: skip


def draw_macros(right: np.ndarray, users: np.ndarray) -> np.ndarray:
    """`macro` of each draw by itself: [draws]."""
    return np.array([macro(row[None], users) for row in right])


def _best(accuracy: dict[tuple[int, str], float], budget: int, arms: Sequence[str]) -> str:
    """The first of the most accurate arms; without accuracies, the first."""
    return max(arms, key=lambda arm: accuracy.get((budget, arm), 0.0))

"""Block: do synthetic windows teach a classifier who real people are, alone and beside few real windows?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mdgen.data.dataset import SpectrogramSet
from validation.context import Context
from validation.findings import Drawing, Finding
from validation.measures.augmentation import (
    Gain,
    augmentation_gate,
    curve_rows,
    draw_macros,
    gain_rows,
    gains,
    small_gain,
)
from validation.measures.learning import (
    RATIOS,
    REAL,
    SHIFTED,
    SYNTHETIC,
    Curve,
    Labelled,
    Pools,
    available_budgets,
    describe,
    feature_space,
    learning_curve,
    macro,
    recognised,
    time_shifted,
)
from validation.measures.resampling import Interval, macro_intervals
from validation.measures.transfer import (
    Transfer,
    equal_counts,
    failing_users,
    least_of_real,
    rights,
    transfer_rows,
    tstr_gate,
)
from validation.networks.judge import Judge
from validation.results import UNAVAILABLE, Gate, Metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Usefulness"
INTRO = (
    "Classifiers learn from synthetic or from real windows and are tested on real recordings that neither they nor the "
    "generator know. The learning curves add synthetic windows to few real ones. The generator learned from all "
    "training windows, so its images bring more real data along than the few windows beside them; only the last point "
    "of the curves, with all training windows, compares equals."
)
#: Windows per user, at the median, below which there is nothing to compare.
FEWEST = 5


@dataclass(frozen=True)
class Curves:
    """Learning curves on unseen windows, what the arms reach on role val, and two fits on synthetic windows alone: all
    of them, and all under shuffled names."""

    unseen: Curve
    val_accuracy: dict[tuple[int, str], float]
    all_synthetic: float
    shuffled: float


def assess_usefulness(context: Context) -> Finding:
    """Gates `tstr` and `augmentation_gain`. Unavailable where users have fewer than `FEWEST` windows to learn from."""
    sets, rules, rng = context.sets, context.rules, context.rng("usefulness")
    people = [*sets.users, *sets.missing]
    train, unseen = sets.real.role("train").of_users(people), unseen_rows(sets.real, people)
    counts = equal_counts(train, sets.synthetic)
    if np.median(list(counts.values())) < FEWEST:
        note = f"fewer than {FEWEST} windows per user to learn from"
        return Finding(TITLE, INTRO, [Gate(name, UNAVAILABLE, note=note) for name in ("tstr", "augmentation_gain")])
    transfer = _transfer(context, train, unseen, counts)
    curves = _curves(context, train, unseen, sets.real.role("val").of_users(people), rng)

    def intervals(scores: np.ndarray) -> tuple[Interval, Interval]:
        return macro_intervals(scores, transfer.users, transfer.groups, rng, context.settings.bootstrap_draws)

    rule = rules["tstr"]
    share = min(rule["user_share"], _real_share(context, transfer, unseen))
    failing = [u for u in failing_users(transfer.per_user, share) if u not in sets.missing]
    margins = intervals(transfer.synthetic - rule["least_share"] * transfer.real)
    gained = gains(curves.unseen, transfer.users, curves.val_accuracy)
    gain_intervals = [intervals(gain.difference)[0] for gain in gained]
    few = small_gain(gained, rules["augmentation_gain"]["few_windows"])
    gates = [
        tstr_gate(transfer, margins, rule, curves.shuffled, failing, sets.missing, sets.advisory),
        augmentation_gate(
            few, intervals(few.difference), gained[-1], gain_intervals[-1], rules["augmentation_gain"], sets.advisory
        ),
    ]
    rows = [
        *transfer_rows(transfer, intervals(transfer.synthetic)[0], intervals(transfer.real)[0]),
        *_alone_rows(curves, len(sets.synthetic), len(unseen)),
        *curve_rows(curves.unseen, transfer.users),
        *gain_rows(gained, gain_intervals),
    ]
    return Finding(
        TITLE,
        INTRO,
        gates,
        rows,
        transfer.per_user.assign(augmentation_gain=_gain_per_user(few, transfer.users)),
        [*failing, *sets.missing],
        [
            Drawing(
                "transfer",
                "Unseen real windows recognised after training on real and on as many synthetic windows, with 95 % "
                "Wilson intervals.",
                partial(draw_transfer, transfer.per_user),
            ),
            Drawing(
                "learning_curve",
                "Unseen real windows recognised by the number of real windows per user trained on; bands are one "
                "deviation over draws.",
                partial(draw_curves, curves.unseen, transfer.users),
            ),
        ],
    )


def unseen_rows(real: SpectrogramSet, users: Sequence[str]) -> SpectrogramSet:
    """Rows that no generator learned from: role test, and role judge where it shares no recording with role train.

    Nothing here is trained on either. Several sessions of each user tell an unlucky day from a useless data set.
    """
    split, groups = real.table["split"], real.groups
    apart = (split == "judge") & ~groups.isin(set(groups[split == "train"]))
    return real.select(((split == "test") | apart).to_numpy()).of_users(users)


def draw_transfer(per_user: pd.DataFrame) -> Figure:
    """TSTR beside TRTR of every user; `per_user` as of `Transfer`."""
    from matplotlib.figure import Figure

    from validation.report.figures import REAL as REAL_COLOUR
    from validation.report.figures import SYNTHETIC as SYNTHETIC_COLOUR
    from validation.report.figures import label

    figure = Figure(figsize=(6.6, 1.2 + 0.34 * len(per_user)))
    axis = figure.subplots()
    for name, colour, offset, title in (
        ("trtr", REAL_COLOUR, -0.14, "trained on real"),
        ("tstr", SYNTHETIC_COLOUR, 0.14, "trained on synthetic"),
    ):
        error = [per_user[name] - per_user[f"{name}_low"], per_user[f"{name}_high"] - per_user[name]]
        place = np.arange(len(per_user)) + offset
        axis.errorbar(per_user[name], place, xerr=np.clip(error, 0, 1), fmt="o", color=colour, capsize=2, label=title)
    axis.set(xlim=(-0.02, 1.02), yticks=range(len(per_user)), xlabel="unseen real windows recognised")
    axis.set_yticklabels([label(user) for user in per_user.index])
    axis.invert_yaxis()
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    return figure


def draw_curves(unseen: Curve, users: np.ndarray) -> Figure:
    """Accuracy of every arm over the real windows per user (as many synthetic ones, for the arm without real)."""
    from matplotlib.figure import Figure

    from validation.report.figures import GRAY
    from validation.report.figures import REAL as REAL_COLOUR
    from validation.report.figures import SYNTHETIC as SYNTHETIC_COLOUR

    styles = {
        REAL: (REAL_COLOUR, "-", "real"),
        SHIFTED: (REAL_COLOUR, "--", "real, time-shifted"),
        **{
            arm: (SYNTHETIC_COLOUR, line, f"the same and {arm}")
            for arm, line in zip(RATIOS, (":", "--", "-"), strict=True)
        },
        SYNTHETIC: (GRAY, "-", "synthetic, as many"),
    }
    budgets = sorted({budget for budget, _ in unseen})
    figure = Figure(figsize=(6.6, 4.2))
    axis = figure.subplots()
    for arm, (colour, line, title) in styles.items():
        by_draw = np.array([draw_macros(unseen[budget, arm], users) for budget in budgets])  # (budgets, draws)
        mean, deviation = by_draw.mean(axis=1), by_draw.std(axis=1)
        axis.plot(budgets, mean, color=colour, linestyle=line, marker="o", markersize=4, label=title)
        axis.fill_between(budgets, mean - deviation, mean + deviation, color=colour, alpha=0.12, linewidth=0)
    axis.set(xscale="log", xlabel="windows per user", ylabel="unseen real windows recognised")
    axis.set_xticks(budgets, [str(budget) for budget in budgets])
    axis.minorticks_off()
    axis.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _transfer(context: Context, train: SpectrogramSet, unseen: SpectrogramSet, counts: dict[str, int]) -> Transfer:
    s = context.settings
    template = Judge(s.seed, s.judge_steps, s.batch_size, s.judge_size)
    seeds = [s.seed + number for number in range(s.judge_seeds)]
    context.say(f"training {len(seeds)} networks on real and as many on synthetic windows, testing on real ones")

    def taught(data: SpectrogramSet) -> np.ndarray:
        parts = (template.get_params(), seeds, counts, data.fingerprint(), unseen.fingerprint())
        return context.kept("rights", parts, lambda: rights(template, data, counts, unseen, seeds))

    real = context.once(("taught by real", *counts.items()), lambda: taught(train))
    synthetic = taught(context.sets.synthetic)
    return Transfer(real, synthetic, unseen.table["user"].to_numpy(), unseen.groups.to_numpy(), counts)


def _real_share(context: Context, transfer: Transfer, unseen: SpectrogramSet) -> float:
    """`least_of_real` of role train and role judge, on role test."""
    if not context.sets.judge_apart:
        return 1.0
    test = (unseen.table["split"] == "test").to_numpy()
    by_judge = context.recognition(context.sets.test).per_user["accuracy"]
    by_train = pd.Series(transfer.real[:, test].mean(axis=0)).groupby(transfer.users[test]).mean()
    return least_of_real(by_train.reindex(by_judge.index), by_judge)


def _curves(
    context: Context, train: SpectrogramSet, unseen: SpectrogramSet, val: SpectrogramSet, rng: np.random.Generator
) -> Curves:
    """Learning curves in a feature space fitted on the training windows."""
    s, side = context.settings, context.settings.judge_size
    context.say("learning curves")

    def shifted() -> list[np.ndarray]:
        return [describe(images, side) for images in time_shifted(train.images, side, s.seed)]

    space = feature_space(context.features("gait_profile", train))

    def labelled(data: SpectrogramSet) -> Labelled:
        return Labelled(space.transform(context.features("gait_profile", data)), data.table["user"].to_numpy())

    real, synthetic, test = labelled(train), labelled(context.sets.synthetic), labelled(unseen)
    moved = context.once(("time-shifted", train.fingerprint()), shifted)
    pools = Pools(real, [Labelled(space.transform(features), real.users) for features in moved], synthetic)
    budgets = available_budgets(real.users, s.learning_budgets)
    tests = {"unseen": test} | ({"val": labelled(val)} if len(val) else {})
    curves = learning_curve(pools, tests, budgets, s.learning_draws, rng)
    nameless = [
        recognised(Labelled(synthetic.features, rng.permutation(synthetic.users)), test)[0]
        for _ in range(s.learning_draws)
    ]
    return Curves(
        curves["unseen"],
        {key: macro(right, tests["val"].users) for key, right in curves.get("val", {}).items()},
        macro(np.array(recognised(synthetic, test)), test.users),
        macro(np.array(nameless), test.users),
    )


def _gain_per_user(few: Gain, users: np.ndarray) -> pd.Series:
    return pd.Series(few.difference.mean(axis=0)).groupby(users).mean()


def _alone_rows(curves: Curves, taught: int, tested: int) -> list[Metric]:
    return [
        Metric(
            "tstr", value, "linear discriminant", set_a=name, set_b="test", n_a=taught, n_b=tested, direction="higher"
        )
        for name, value in (("synthetic", curves.all_synthetic), ("synthetic, names shuffled", curves.shuffled))
    ]

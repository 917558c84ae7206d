"""Block: are these copies of the training set? Against how close honest real windows come to it and to each other. And
are recordings of other roles among them as they are?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from mdgen.data.dataset import SpectrogramSet
from validation.context import Context
from validation.findings import Drawing, Finding
from validation.measures.copies import (
    Closest,
    HonestScale,
    closest_copies,
    failing_users,
    not_compared,
    scale_of,
    user_shares,
)
from validation.measures.identical import recorded_users, recording_rows, recordings, with_recordings
from validation.measures.recognition import wilson_interval
from validation.measures.resampling import Interval
from validation.results import ADVISORY, FAIL, INCONCLUSIVE, PASS, Gate, Metric, unavailable
from validation.rules import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Memorisation"
INTRO = (
    "How much each image looks like a copy of a training image of its user, in the spread of honest real windows that "
    "share no signal: 0 is as close as those come to one another. Copies may be shifted, reversed, scaled, noised, "
    "blurred, or hold for half the window. Recordings of roles judge and test may not be among the images as they are."
)
PAIRS = 20
#: The control: training images shifted by an eighth of their width and noised by this.
CONTROL_NOISE = 0.1


@dataclass(frozen=True)
class Measured:
    """Closeness to the training set of the synthetic set, of held-out real rows, of the training rows to each other,
    and of made copies, which the measurement must find."""

    synthetic: Closest
    held_out: Closest
    train: Closest
    control: Closest

    def honest_share(self, limit: float) -> float:
        """Share of real windows taken for copies: held out or within the training set, whichever is more."""
        return float(np.nanmax([self.held_out.share_above(limit), self.train.share_above(limit), 0.0]))


def assess_memorisation(context: Context) -> Finding:
    """Gate `memorisation`: fails when the set, or one user's images, hold more near copies than real data do."""
    sets, size, rule = context.sets, context.settings.judge_size, context.rules["memorisation"]
    scale, others = scale_of(context), recordings(context)
    recorded = recorded_users(others, sets.synthetic, rule["user_excess"])
    if scale is None:
        reason = "no user has five training windows with three others that do not overlap: nothing says what is close"
        gate = with_recordings(unavailable("memorisation", reason), others, rule)
        rows = list(recording_rows(others))
        return Finding(TITLE, INTRO, [gate], rows, failed_users=recorded, open_users=sets.users)
    context.say(f"closest of {len(sets.train)} training images to {len(sets.synthetic)} synthetic ones")
    held_out, control = context.once(("copies", *sets.users), lambda: _references(context, scale))
    synthetic = closest_copies(sets.synthetic, sets.train, scale, size)
    found = Measured(synthetic, held_out, scale.leave_one_out, control)
    per_user = user_shares(synthetic, sets.synthetic, rule["score"])
    copied = failing_users(per_user, found.honest_share(rule["score"]) + rule["user_excess"])
    users = [user for user in sets.users if user in {*copied, *recorded}]
    unseen = not_compared(synthetic, sets.synthetic)
    gate = memorisation_gate(found, users, rule, sets.advisory, unseen)
    return Finding(
        TITLE,
        INTRO,
        gates=[with_recordings(gate, others, rule)],
        metrics=[
            *_metrics(found, per_user, membership_auc(context, scale), rule["score"]), *recording_rows(others),
        ],
        per_user=per_user.drop(columns=["ci_low", "ci_high"]),
        failed_users=users,
        drawings=[
            Drawing("memorisation_scores", "Evidence of a copy", lambda: _draw_scores(found, rule["score"])),
            Drawing(
                "closest_pairs", "The synthetic images most like a training image, above that image, likest first.",
                lambda: _draw_pairs(sets.synthetic, sets.train, synthetic),
            ),
        ],
        open_users=unseen,
    )  # fmt: skip


def memorisation_gate(
    found: Measured, users: Sequence[str], rule: Rule, advisory: str = "", unseen: Sequence[str] = ()
) -> Gate:
    """Near copies are at most `excess` more frequent than among honest real windows, by the lower Wilson bound.

    users: those that fail. unseen: those of `not_compared`. Cannot pass where there are any of these, where made copies
    are not found, or where real data look like copies of each other.
    """
    limit, known = rule["score"], np.isfinite(found.synthetic.score)
    if not known.any():
        return unavailable("memorisation", "no synthetic image has a training image of its user to be compared with")
    share, honest, power = (
        found.synthetic.share_above(limit),
        found.honest_share(limit),
        found.control.share_above(limit),
    )
    low, high = wilson_interval(share, int(known.sum()))
    threshold = honest + rule["excess"]
    notes = [f"{share:.1%} near copies of training images; {honest:.1%} among real windows that are none"]
    status = FAIL if low > threshold else PASS if share <= threshold else INCONCLUSIVE
    if users:
        status = FAIL
        notes.append("users that fail: " + ", ".join(users))
    if unseen:
        status = FAIL if status == FAIL else INCONCLUSIVE
        notes.append("too few training windows that do not overlap, not looked at: " + ", ".join(unseen))
    if power < rule["power"]:
        status = FAIL if status == FAIL else INCONCLUSIVE
        notes.append(f"only {power:.0%} of copies made for control are found")
    if honest > rule["honest"]:
        status = FAIL if status == FAIL else INCONCLUSIVE
        notes.append("real windows themselves look like copies: duplicates, or roles that share recordings")
    if advisory:
        status = FAIL if status == FAIL else ADVISORY
        notes.append(advisory)
    return Gate(
        "memorisation", status, share, low, high, threshold, honest, int(known.sum()), "; ".join(notes), floor=power
    )


def closer_share(a: np.ndarray, b: np.ndarray) -> float:
    """Chance that one of scores `a` exceeds one of `b`, ties counting half (Mann-Whitney U over n m): 0.5 is alike.

    The effect size behind C_T (Meehan, Chaudhuri & Dasgupta 2020, eq. 1), which is its z-score and grows with n.
    """
    a, b = a[np.isfinite(a)], b[np.isfinite(b)]
    if not len(a) or not len(b):
        return float("nan")
    return float(roc_auc_score(np.r_[np.ones(len(a)), np.zeros(len(b))], np.r_[a, b]))


def membership_auc(context: Context, scale: HonestScale) -> Interval:
    """How well closeness to the synthetic set tells training rows from held-out ones: mean AUC of the users.

    Interval: users drawn with replacement. Sessions of a person differ, so generators that copy nothing exceed 0.5.
    """
    sets, size = context.sets, context.settings.judge_size
    parts = {}
    for role, rows in (("train", sets.train), ("test", sets.test)):
        score = closest_copies(rows, sets.synthetic, scale, size, separate=True).score
        parts[role] = {u: score[(rows.table["user"] == u).to_numpy()] for u in sets.users}
    each = np.array([closer_share(parts["train"][u], parts["test"][u]) for u in sets.users])
    each = each[np.isfinite(each)]
    if not len(each):
        return Interval(float("nan"), float("nan"), float("nan"))
    rng, draws = context.rng("membership"), context.settings.bootstrap_draws
    low, high = np.quantile(rng.choice(each, (draws, len(each))).mean(axis=1), [0.025, 0.975])
    return Interval(float(each.mean()), float(low), float(high))


def _references(context: Context, scale: HonestScale) -> tuple[Closest, Closest]:
    """Closeness to the training set of held-out rows and of made copies."""
    train, size = context.sets.train, context.settings.judge_size
    noise = CONTROL_NOISE * context.rng("memorisation").standard_normal(train.images.shape, np.float32)
    shifted = np.roll(train.images, train.images.shape[-1] // 8, axis=-1)
    copies = train.with_images((shifted + noise).clip(-1, 1))
    return closest_copies(context.sets.test, train, scale, size), closest_copies(copies, train, scale, size)


def _metrics(found: Measured, per_user: pd.DataFrame, membership: Interval, limit: float) -> Iterator[Metric]:
    sets = {"synthetic": found.synthetic, "test": found.held_out, "train": found.train, "made copies": found.control}
    for name, closest in sets.items():
        share, count = closest.share_above(limit), int(np.isfinite(closest.score).sum())
        low, high = wilson_interval(share, count)
        yield Metric("near_copy_share", share, set_a="train", set_b=name, ci_low=low, ci_high=high, n_b=count,
                     direction="lower")  # fmt: skip
    for user, row in per_user.iterrows():
        yield Metric("near_copy_share", row["near_copy_share"], scope="user", user=str(user), set_a="train",
                     set_b="synthetic", ci_low=row["ci_low"], ci_high=row["ci_high"], direction="lower")  # fmt: skip
    note = "chance to be closer to the training set than held-out real data (effect size of C_T); beside it what the "
    note += "training rows themselves reach, their own image left out"
    for name, closest in (("synthetic", found.synthetic), ("train", found.train)):
        value = closer_share(closest.score, found.held_out.score)
        yield Metric("closer_than_held_out", value, set_a="test", set_b=name, direction="one", note=note)
    note = "above 0.5 without copying, because sessions differ; it decides nothing"
    yield Metric("membership_auc", membership.value, set_a="train", set_b="test", ci_low=membership.low,
                 ci_high=membership.high, direction="lower", note=note)  # fmt: skip


def _draw_scores(found: Measured, limit: float) -> Figure:
    from matplotlib.figure import Figure

    from validation.report.figures import GRAY, REAL, SYNTHETIC

    sets = (
        (found.train.score, GRAY, "training, to one another"),
        (found.held_out.score, REAL, "real, held out"),
        (found.synthetic.score, SYNTHETIC, "synthetic"),
        (found.control.score, "#edae49", "copies made for control"),
    )
    highest = max(2 * limit, float(np.nanquantile(np.r_[found.synthetic.score, found.control.score], 0.99)))
    figure = Figure(figsize=(6.6, 3.2))
    axis = figure.subplots()
    for values, colour, name in sets:
        known = values[np.isfinite(values)].clip(-4, highest)
        heights, edges = np.histogram(
            known, bins=np.linspace(-4, highest, 60), weights=np.full(len(known), 1 / max(1, len(known)))
        )
        axis.stairs(heights, edges, color=colour, label=name, fill=name == "synthetic", alpha=0.8, linewidth=1.5)
    axis.axvline(limit, color=GRAY, linestyle="--", linewidth=1)
    axis.set(xlabel="evidence of a copy of a training image (honest spreads); dashed: near copy", ylabel="share")
    axis.legend(frameon=False, fontsize=9)
    return figure


def _draw_pairs(synthetic: SpectrogramSet, train: SpectrogramSet, found: Closest) -> Figure:
    from matplotlib.figure import Figure

    from validation.report.figures import label

    order = np.argsort(-np.nan_to_num(found.score, nan=-np.inf), kind="stable")[:PAIRS]
    order = order[found.index[order] >= 0]
    columns = max(1, min(10, len(order)))
    rows = 2 * max(1, -(-len(order) // columns))
    figure = Figure(figsize=(1.3 * columns, 1.5 * rows))
    axis = figure.add_axes((0, 0, 1, 1))
    for place, query in enumerate(order):
        across, down = place % columns, 2 * (place // columns)
        user = label(str(synthetic.table["user"].iloc[query]))
        for top, image, title in (
            (down, synthetic.images[query], user),
            (down + 1, train.images[found.index[query]], f"training, {found.score[query]:.1f}"),
        ):
            axis.imshow(image.mean(axis=0), vmin=-1, vmax=1, cmap="turbo", aspect="auto", interpolation="nearest",
                        extent=(across, across + 0.94, top + 1, top + 0.17))  # fmt: skip
            axis.text(across + 0.47, top + 0.13, title, fontsize=8, ha="center")
    axis.set(xlim=(0, columns), ylim=(rows, 0))
    axis.axis("off")
    return figure

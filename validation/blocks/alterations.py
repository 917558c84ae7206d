"""Block: has the synthetic set been tampered with? Its place between real images and the same images altered.

What a detector is stands in `measures.detectors`, all of them in `measures.detector_bank`, the alterations in
`measures.tampering`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mdgen.data.dataset import SpectrogramSet
from validation.context import Context
from validation.findings import Drawing, Finding
from validation.measures.detector_bank import Bank, Position, rows_of, sample_rows
from validation.measures.seams import Seam, worst_seam
from validation.measures.tampering import ALTERATIONS
from validation.networks.network import one_thread, shrink
from validation.results import FAIL, INCONCLUSIVE, PASS, Gate, Metric, unavailable
from validation.rules import Rule
from validation.sets import ENOUGH_IMAGES, judges_role

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Tampering"
INTRO = (
    "Detectors of known alterations, trained on real images alone. 0: as genuine as held-out real images; "
    "1: like the same images altered. Intervals are over users."
)
MIN_SIDE, MIN_LEARN, MIN_TEST = 16, 24, 16
MAX_TEST, MAX_SYNTHETIC = 400, 1200


def assess_alterations(context: Context) -> Finding:
    """Gate `alterations`: fails when the set, or one user's images, stand near images altered in a known way."""
    sets, side = context.sets, min(context.sets.real.images.shape[-2:])
    learn = int(_learning(_reference(context)).sum())
    if side < MIN_SIDE:
        reason = f"images of {side} pixels a side; {MIN_SIDE} are needed"
    elif learn < MIN_LEARN or len(sets.test) < MIN_TEST:
        reason = f"{learn} real images to learn from, {len(sets.test)} held out; {MIN_LEARN} and {MIN_TEST} are needed"
    else:
        rows = rows_of(sets.synthetic, context.settings.judge_size)
        rows = rows.take(sample_rows(np.arange(len(rows)), MAX_SYNTHETIC, context.rng("alterations of synthetic")))
        bank = context.once(("alterations", *sets.users), lambda: train_bank(context))
        with one_thread():
            positions = bank.place(rows)
            real, test = (shrink(s.images, context.settings.judge_size) for s in (_reference(context), sets.test))
            seams = [worst_seam(rows.images, real, test, axis) for axis in ("column", "row")]
            return judge_positions(positions, context.rules["alterations"], len(rows), seams)
    return Finding(TITLE, INTRO, [unavailable("alterations", reason)])


def train_bank(context: Context) -> Bank:
    """The detectors for the judged users, from real rows alone."""
    context.say(f"{len(ALTERATIONS)} detectors of alterations on real images")
    rng, reference, size = context.rng("alterations"), _reference(context), context.settings.judge_size
    test = rows_of(context.sets.test, size)
    test = test.take(sample_rows(np.arange(len(test)), MAX_TEST, rng))
    with one_thread():
        enough = context.rules["alterations"]["auc"]
        return Bank(rows_of(reference, size), _learning(reference), test, rng, enough)


def judge_positions(positions: Sequence[Position], rule: Rule, count: int, seams: Sequence[Seam] = ()) -> Finding:
    """The finding from what the detectors and the search for seams measured on `count` synthetic images."""
    usable = [p for p in positions if p.detector.auc >= rule["auc"]]
    dropped = [p.name for p in positions if p.detector.auc < rule["auc"]]
    if not usable:
        reason = "no detector tells altered real images from genuine ones"
        return Finding(TITLE, INTRO, [unavailable("alterations", reason)])
    users = failing_users(usable, rule["user_position"], rule["user_turned"])
    per_user = pd.DataFrame({p.name: p.per_user for p in usable}).dropna(how="all")
    table = pd.DataFrame({"altered_position": per_user.max(axis=1), "altered_as": per_user.idxmax(axis=1)})
    return Finding(
        TITLE,
        INTRO,
        gates=[_gate(usable, dropped, users, [s for s in seams if s.low > rule[f"{s.axis}_seam"]], rule, count)],
        metrics=[*(_metric(p, p in usable) for p in positions), *(_seam_metric(s, count) for s in seams)],
        per_user=table,
        failed_users=list(users),
        drawings=[Drawing("alterations", INTRO, lambda: _draw(usable, rule["position"]))],
    )


def failing_users(positions: Sequence[Position], limit: float, turned: float) -> dict[str, str]:
    """User -> the alteration its images are nearest to, among those by which they are beyond doubt.

    That is a position of more than two standard deviations of real sessions beyond `limit`; for an alteration that
    turns every picture into its opposite, of more than a standard error beyond `turned`. Users with fewer than
    `ENOUGH_IMAGES` do not fail.
    """
    table = pd.DataFrame({p.name: p.per_user for p in positions})
    clear = pd.DataFrame({p.name: _beyond(p, limit, turned) & (p.counts >= ENOUGH_IMAGES) for p in positions})
    nearest = -(table - 1).abs().where(clear)
    return {str(user): str(row.idxmax()) for user, row in nearest.dropna(how="all").iterrows()}


def _beyond(position: Position, limit: float, turned: float) -> pd.Series:
    if position.detector.turns:
        return position.per_user - position.errors > turned
    return position.per_user - 2 * position.detector.spread > limit


def _gate(
    usable: list[Position], dropped: list[str], users: dict[str, str], seams: list[Seam], rule: Rule, count: int
) -> Gate:
    limit = rule["position"]
    failing = sorted((p for p in usable if p.ci_low > limit), key=lambda p: abs(p.value - 1))
    open_ones = [p for p in usable if p not in failing and p.value > 2 * limit]
    worst = failing[0] if failing else max(usable, key=lambda p: p.value)
    notes = [f"most like: {', '.join(f'{p.name} ({p.value:+.2f})' for p in (failing or [worst])[:3])}"]
    notes += [f"a seam after {s.axis} {s.place}: {np.expm1(s.excess):+.0%} roughness" for s in seams]
    if users:
        notes.append("users that fail: " + ", ".join(f"{user} (as if {name})" for user, name in users.items()))
    if open_ones:
        notes.append("not established over users: " + ", ".join(p.name for p in open_ones))
    if blind := [f"{p.name} ({', '.join(p.detector.blind)})" for p in usable if p.detector.blind]:
        notes.append("cannot be told of these: " + ", ".join(blind))
    if dropped:
        notes.append("cannot be told from real here, not judged: " + ", ".join(dropped))
    status = FAIL if failing or users or seams else INCONCLUSIVE if open_ones else PASS
    real = float(worst.detector.sessions.mean())
    return Gate(
        "alterations", status, worst.value, worst.ci_low, worst.ci_high, limit, real, count, "; ".join(notes), 1.0
    )


def _metric(position: Position, usable: bool) -> Metric:
    detector = position.detector
    note = f"AUC of the detector on held-out real {detector.auc:.3f}; spread of real sessions {detector.spread:.3f}"
    return Metric(
        "alteration_position", position.value, scope=position.name, set_a="test", set_b="synthetic",
        ci_low=position.ci_low, ci_high=position.ci_high, direction="lower",
        note=note if usable else note + "; not judged",
    )  # fmt: skip


def _seam_metric(seam: Seam, count: int) -> Metric:
    return Metric(
        "seam", seam.excess, scope=seam.axis, set_a="real", set_b="synthetic", n_b=count, ci_low=seam.low,
        direction="lower", note=f"after {seam.axis} {seam.place}; log ratio",
    )  # fmt: skip


def _reference(context: Context) -> SpectrogramSet:
    """Real rows of the judged users that are not held out."""
    return context.sets.real.role("train", "judge", "val").of_users(context.sets.users)


def _learning(reference: SpectrogramSet) -> np.ndarray:
    """bool: the rows of role judge, or of role train where there is no judge."""
    split = reference.table["split"].to_numpy()
    return split == judges_role(split)


def _draw(positions: Sequence[Position], limit: float) -> Figure:
    from matplotlib.figure import Figure

    from validation.report.figures import GRAY, REAL, SYNTHETIC

    order = sorted(positions, key=lambda p: p.value)
    place = np.arange(len(order))
    figure = Figure(figsize=(6.6, 1.2 + 0.27 * len(order)))
    axis = figure.subplots()
    middle = np.array([p.value for p in order])
    error = np.array([[p.value - p.ci_low, p.ci_high - p.value] for p in order]).T
    spread = [2 * p.detector.spread for p in order]
    axis.errorbar(0 * place, place, xerr=spread, fmt="none", color=REAL, alpha=0.35, linewidth=5, label="real sessions")
    axis.errorbar(middle, place, xerr=error, fmt="o", color=SYNTHETIC, capsize=2, label="synthetic")
    axis.plot([p.per_user.max() for p in order], place, "|", color=SYNTHETIC, markersize=8, label="its worst user")
    axis.axvline(limit, color=GRAY, linestyle="--", linewidth=1)
    axis.set(yticks=place, xlabel="0: as held-out real   1: as real images altered", xlim=(-0.4, 1.3))
    axis.set_yticklabels([p.name for p in order])
    axis.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3, frameon=False, fontsize=9)
    return figure

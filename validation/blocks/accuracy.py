"""Block: are synthetic images recognised as their user? Train on real, test on synthetic, beside held-out real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from validation.context import Context
from validation.findings import Drawing, Finding
from validation.measures.labels import agreement_of, doubtful, exchanged, label_rows, mixed_up, unconfirmed, unlooked
from validation.measures.recognition import Recognition, recognise, telling_apart
from validation.results import ADVISORY, FAIL, INCONCLUSIVE, PASS, Gate, Metric
from validation.rules import Rule
from validation.sets import ENOUGH_IMAGES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Synthetic data recognised this much better than real data are prototypes, or copies.
SUSPICIOUS_EXCESS = 0.05
#: Reports on honest data in which chance may make a user fail.
FALSE_ALARMS = 0.01


def assess_user_accuracy(context: Context) -> Finding:
    """Gate `user_accuracy`: the judges on held-out real, on the generator's real and on synthetic images."""
    sets = context.sets
    context.say("accuracy on held-out real and on synthetic images")
    real, learned = (context.recognition(s) for s in (sets.test, sets.train))
    synthetic = recognise(context.judges, sets.synthetic, sets.users)
    rule = context.rules["user_accuracy"]
    unseen = pd.concat([context.recognition(rows).sessions for rows in sets.unseen.values()])
    failing = failing_users(synthetic, unseen, rule)
    surely_real = real.macro - 2 * session_spread(unseen) / len(sets.users) ** 0.5
    labels = agreement_of(context)
    elsewhere = exchanged(synthetic, real, rule)
    failing = sorted({*failing, *unconfirmed(labels, rule), *elsewhere})
    wrong = "; ".join(
        [*filter(None, [mixed_up(labels, rule)]), *(f"{u} is taken for {v}" for u, v in elsewhere.items())]
    )
    gate = user_accuracy_gate(
        synthetic, real, surely_real, failing, rule, sets.advisory, sets.unjudged, sets.missing, wrong,
        doubtful(labels, rule),
    )  # fmt: skip
    sets_of = (("test", real), ("train", learned), ("synthetic", synthetic))
    return Finding(
        "Recognition",
        "Classifiers trained on other real recordings say who each image shows. Much better than on real data is a "
        "warning, not a success: prototypes are easier to recognise than people.",
        [gate],
        [*(row for name, found in sets_of for row in _rows(name, found)), *label_rows(labels, synthetic.n)],
        _columns(synthetic, real),
        failing,
        _drawings(synthetic, real, [str(c) for c in context.judges[0].classes_], rule["threshold"]),
        unlooked(labels, sets.users),
        open_users=too_few(synthetic),
    )


def user_accuracy_gate(
    synthetic: Recognition,
    real: Recognition,
    surely_real: float,
    failing: Sequence[str],
    rule: Rule,
    advisory: str = "",
    unjudged: Sequence[str] = (),
    missing: Sequence[str] = (),
    mixed: str = "",
    doubt: str = "",
) -> Gate:
    """Recognised as often as the reference demands, and nearly as often as real data are, by judges that know neither.

    surely_real: lower bound of the accuracy on one session of each real user. mixed: what is wrong with the labels;
    doubt: what may be, which alone fails nothing.
    Pass: lower Wilson bound >= threshold, accuracy >= share x ceiling, and no user failing or missing. Fail: the upper
    bound is below the threshold, or below the share, of what real data surely reach; a user fails by itself or has no
    images; or labels are mixed up. Where even real data stay below the threshold, labels are in doubt, or a user has
    fewer than `ENOUGH_IMAGES`, it cannot pass. Judges that saw the generator's data flatter it, so then a failure
    stands but nothing better than "advisory" is given.
    """
    ceiling, value, people = real.macro, synthetic.macro, max(2, synthetic.confusion.shape[1])
    low, high = synthetic.interval
    threshold, share = rule["threshold"], rule["ceiling_share"]
    ratio = value / ceiling if ceiling > 0 else float("inf")
    notes = [f"{ratio:.0%} of what real data reach"]
    if ceiling < telling_apart(people):
        status = INCONCLUSIVE
        notes.append("the judges hardly know real users apart, so they decide nothing")
    elif high < share * surely_real or (high < threshold <= surely_real):
        status = FAIL
        notes.append(f"surely below {share:.0%} of it, or below {threshold:.0%}")
    elif ratio < share:
        status = INCONCLUSIVE
        notes.append(f"below the {share:.0%} required, but real sessions differ as much")
    elif ceiling < threshold:
        status = INCONCLUSIVE
        notes.append(f"real data themselves stay below {threshold:.0%}, so only this ratio decides, and it holds")
    else:
        status = PASS if low >= threshold else INCONCLUSIVE
        if status == INCONCLUSIVE:
            notes.append(f"not surely above {threshold:.0%}")
    if failing:
        status = FAIL
        notes.append("users that fail: " + ", ".join(failing))
    if mixed:
        status = FAIL
        notes.append(mixed)
    elif doubt:
        status = FAIL if status == FAIL else INCONCLUSIVE
        notes.append(doubt)
    if missing:
        status = FAIL
        notes.append("no synthetic images of: " + ", ".join(missing))
    if value > ceiling + SUSPICIOUS_EXCESS:
        notes.append("better recognised than real data: look for prototypes and copies")
    if unjudged:
        status = FAIL if status == FAIL else INCONCLUSIVE
        notes.append("users without real data to judge by: " + ", ".join(unjudged))
    if few := too_few(synthetic):
        status = FAIL if status == FAIL else INCONCLUSIVE
        notes.append(f"fewer than {ENOUGH_IMAGES} images, too few to judge: " + ", ".join(few))
    if advisory:
        status = FAIL if status == FAIL else ADVISORY
        notes.append(advisory)
    note = "; ".join(notes)
    return Gate("user_accuracy", status, value, low, high, threshold, ceiling, synthetic.n, note, floor=1 / people)


def too_few(synthetic: Recognition) -> list[str]:
    """Users with fewer than `ENOUGH_IMAGES` images."""
    return [str(user) for user, count in synthetic.per_user["n"].items() if count < ENOUGH_IMAGES]


def failing_users(synthetic: Recognition, sessions: pd.Series, rule: Rule) -> list[str]:
    """Users whose upper bound is below the threshold and below what a session of theirs, even a bad one, would reach.

    sessions: accuracy of the judges by (user, session) on real data that they never saw. Windows of one session stand
    or fall together, so the session is the unit: the least to expect of a user is the lower end of the prediction
    interval for one more session (Student, deviations pooled over users), so wide that chance makes any user fail in
    `FALSE_ALARMS` of the reports; or the worst session if that is less. The rule's share of it is asked for.
    """
    within = sessions.groupby(level=0)
    count = within.count()
    deviations = stats.t.isf(FALSE_ALARMS / len(count), max(1, (count - 1).sum())) * (1 + 1 / count) ** 0.5
    least = np.minimum(within.mean() - deviations * session_spread(sessions), within.min())
    least = least.reindex(synthetic.per_user.index)
    high = synthetic.per_user["ci_high"]
    failed = high < np.minimum(rule["threshold"], rule["ceiling_share"] * least)
    return [str(user) for user in high.index[failed]]


def session_spread(sessions: pd.Series) -> float:
    """Deviation of the accuracy between sessions of one user, pooled over users; 0 where nobody has two."""
    variances = sessions.groupby(level=0).var().dropna()
    return float(np.sqrt(variances.mean())) if len(variances) else 0.0


def _columns(synthetic: Recognition, real: Recognition) -> pd.DataFrame:
    table = synthetic.per_user.rename(columns={"n": "n_synthetic"})
    table = table.join(
        real.per_user.rename(columns={"accuracy": "real_accuracy", "n": "n_real"})[["real_accuracy", "n_real"]]
    )
    table["ratio"] = (table["accuracy"] / table["real_accuracy"]).where(table["real_accuracy"] > 0)
    return table


def _rows(name: str, found: Recognition) -> list[Metric]:
    base = Metric("user_accuracy", found.macro, "judge", set_a="judge", set_b=name, n_b=found.n, direction="higher")
    low, high = found.interval
    by_judge = "by judge: " + ", ".join(f"{value:.3f}" for value in found.seed_macros)
    spread = float(np.std(found.seed_macros))
    rows = [
        replace(base, ci_low=low, ci_high=high, note=by_judge),
        replace(base, metric="user_accuracy_spread", value=spread, direction="lower", note="deviation over judges"),
    ]
    for user, row in found.per_user.astype(float).iterrows():
        low, high, count = float(row["ci_low"]), float(row["ci_high"]), int(row["n"])
        own = replace(base, scope="user", user=str(user), value=float(row["accuracy"]))
        rows.append(replace(own, ci_low=low, ci_high=high, n_b=count))
    return rows


def _drawings(synthetic: Recognition, real: Recognition, classes: list[str], threshold: float) -> list[Drawing]:
    def accuracy() -> Figure:
        from validation.report import figures

        return figures.user_accuracy(synthetic, real, threshold)

    def confusion() -> Figure:
        from validation.report import figures

        return figures.confusion(synthetic, real, classes)

    return [
        Drawing("user_accuracy", "Per user, with 95 % Wilson intervals; the dashed line is the threshold.", accuracy),
        Drawing("confusion", "Who is taken for whom; rows sum to 1.", confusion),
    ]

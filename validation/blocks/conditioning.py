"""Block: does synthetic user u lie closer to real user u than to every other real user?

Features of every encoder are first turned so that they tell people apart and forget what changes within one person
(linear discriminants of real rows of role judge), then synthetic user u is held against all real users. What real
training data of u cannot do is not asked of synthetic ones, and no single encoder decides: an attack on one, or a day
on which one errs, is outvoted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline

from validation.context import Context
from validation.findings import Drawing, Finding
from validation.measures.distances import cross_distances, half_of_each, polynomial_kernel, standardise
from validation.measures.feature_sets import FeatureSet, feature_sets, joined
from validation.measures.recognition import wilson_interval
from validation.networks.encoders import PIXEL_STATISTICS, EncoderUnavailable
from validation.results import FAIL, INCONCLUSIVE, PASS, UNAVAILABLE, Gate, Metric
from validation.rules import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COMPONENTS = 64
#: Share of a multiple of the identity in the within-class covariance.
SHRINKAGE = 0.1
DRAWS = 60
#: Rows of a user below which halves of them do not tell how sure a distance is.
FEWEST = 4


@dataclass(frozen=True)
class Rows:
    """Every user's rows of one set against all real users, by one encoder.

    matrix: kernel distance of each user (rows) to each real user (columns). lead: by how much the own real user is
    farther than the nearest other one, over the usual distance between two real users; below 0 the own one wins.
    lead_low: lower end of its 95 % interval (images resampled on both sides together). nearest: that other user.
    """

    matrix: pd.DataFrame
    lead: pd.Series
    lead_low: pd.Series
    nearest: pd.Series

    @property
    def wins(self) -> pd.Series:
        """Whether the own real user is the nearest: bool by user."""
        return self.lead < 0


@dataclass(frozen=True)
class Crossed:
    """One encoder. train: the generator's real data, the most it can pass on."""

    encoder: str
    synthetic: Rows
    train: Rows


def assess_conditioning(context: Context) -> Finding:
    """Gate `conditioning`: synthetic users against real ones, in every encoder that tells real people apart."""
    context.say("synthetic users against real ones")
    found = []
    for name in context.settings.encoders:
        if name not in PIXEL_STATISTICS:
            try:
                crossed = cross(name, feature_sets(context, name), context)
            except EncoderUnavailable:
                continue
            found += [crossed] if crossed else []
    rule = context.rules["conditioning"]
    failing = failing_users(found, rule["lead"])
    return Finding(
        "Conditioning",
        "Kernel distance of every synthetic user to every real user, in features turned to tell people apart: the own "
        "real user should be the nearest, as often as for real training data.",
        [conditioning_gate(found, failing, rule)],
        _metric_rows(found),
        _per_user(found),
        list(failing),
        [Drawing("cross_distances", "Distance of each synthetic user to each real user, over that to the own one's "
                 "nearest rival: each row should be darkest on the diagonal.", lambda: _draw(found))] if found else [],
    )  # fmt: skip


def cross(name: str, sets: dict[str, FeatureSet], context: Context) -> Crossed | None:
    """Synthetic and train rows of every user against the held-out real rows (roles test and val) of every user.

    None where fewer than two users have `FEWEST` rows everywhere.
    """
    parts = [sets["synthetic"], sets["train"], sets["test"], *([sets["val"]] if "val" in sets else [])]
    synthetic, train, *held_out = discriminate(sets["judge"], parts)
    real = joined(*held_out)
    users = [u for u in context.sets.users if all((p.users == u).sum() >= FEWEST for p in (synthetic, train, real))]
    if len(users) < 2:
        return None
    rng = context.rng(f"conditioning {name}")
    return Crossed(name, *(against(part, real, users, rng) for part in (synthetic, train)))


def discriminate(labelled: FeatureSet, parts: list[FeatureSet]) -> list[FeatureSet]:
    """`parts` in the linear discriminants of the users of `labelled`, after at most 64 principal components.

    As within-class covariance normalisation does in speaker verification (Hatch et al. 2006): directions in which one
    person varies count for little; the within-class covariance is shrunk, for there are few rows.
    """
    components = min(COMPONENTS, len(labelled) - 1, labelled.features.shape[1])
    turn = make_pipeline(
        PCA(components, whiten=True, random_state=0), LinearDiscriminantAnalysis(solver="eigen", shrinkage=SHRINKAGE)
    )
    turn.fit(labelled.features, labelled.users)
    turned = [turn.transform(part.features) for part in parts]
    scaled = standardise(np.concatenate(turned[2:]), *turned)
    return [part.with_features(features) for part, features in zip(parts, scaled, strict=True)]


def against(some: FeatureSet, real: FeatureSet, users: list[str], rng: np.random.Generator, draws: int = DRAWS) -> Rows:
    """The rows of `some`, user by user, against those of `real`."""
    features = np.concatenate([some.features, real.features])
    kernel = polynomial_kernel(features, features)
    nobody = np.zeros((len(users), len(some)), bool)
    first = np.hstack([some.members(users), np.zeros((len(users), len(real)), bool)])
    second = np.hstack([nobody, real.members(users)])
    matrix = cross_distances(kernel, first, second)
    between = cross_distances(kernel, second, second)
    usual = max(float(np.median(between[~np.eye(len(users), dtype=bool)])), 1e-9)
    drawn = [cross_distances(kernel, half_of_each(first, rng), half_of_each(second, rng)) for _ in range(draws)]
    spread = np.std([_leads(halves) for halves in drawn], axis=0)
    leads = _leads(matrix)
    np.fill_diagonal(leads, -np.inf)
    nearest = leads.argmax(axis=1)
    place = np.arange(len(users)), nearest
    lead = leads[place] / usual
    return Rows(
        pd.DataFrame(matrix, index=users, columns=users),
        pd.Series(lead, index=users),
        pd.Series(lead - 1.96 * spread[place] / usual, index=users),
        pd.Series(np.asarray(users)[nearest], index=users),
    )


def failing_users(found: list[Crossed], limit: float) -> dict[str, str]:
    """Users closer to another person in most encoders in which real training data of theirs are not: user -> whom.

    Closer: the interval of the lead is above 0, and the lead above `limit` of the usual distance between two people.
    Only users whose real training data are closest to themselves in most encoders: others look like somebody else on
    some days.
    """
    failing = {}
    for user in sorted({user for crossed in found for user in crossed.synthetic.lead.index}):
        able = [c.synthetic for c in found if c.train.wins.get(user, False)]
        off = [rows for rows in able if rows.lead_low[user] > 0 and rows.lead[user] > limit]
        if len(able) > len(found) / 2 and len(off) > len(able) / 2:
            rivals = [rows.nearest[user] for rows in off]
            failing[user] = max(rivals, key=rivals.count)
    return failing


def conditioning_gate(found: list[Crossed], failing: dict[str, str], rule: Rule) -> Gate:
    """Own user nearest, in the share of (user, encoder) pairs in which it is for real training data.

    Fail: a user is clearly someone else, or the share is below the limit and the typical user is nearer to another one
    in most encoders that tell real people apart. Undecided where only the share is low, or where too few real rows win.
    """
    threshold = rule["win_share"]
    if not found:
        return Gate("conditioning", UNAVAILABLE, threshold=threshold, note="fewer than two users have enough images")
    able = pd.concat([c.synthetic.wins[c.train.wins] for c in found])
    possible = float(np.mean([c.train.wins.mean() for c in found]))
    users = len(found[0].synthetic.lead)
    if len(able) < users:
        note = f"real training data are nearest to their own user in {possible:.0%} of cases: too few to judge by"
        return Gate("conditioning", INCONCLUSIVE, threshold=threshold, ceiling=possible, n=len(able), note=note)
    value = float(able.mean())
    low, high = wilson_interval(value, users)
    lost = [c.synthetic.lead.median() > 0 for c in found if c.train.lead.median() < 0]
    meaningless = value < threshold and sum(lost) > len(lost) / 2
    status = FAIL if failing or meaningless else PASS if value >= threshold else INCONCLUSIVE
    notes = [f"own user nearest in {value:.0%} of the cases in which real training data are (those are {possible:.0%})"]
    if meaningless:
        notes.append("the typical synthetic user is closer to someone else: labels say little")
    if failing:
        notes.append("closer to someone else: " + ", ".join(f"{u} (to {other})" for u, other in failing.items()))
    return Gate("conditioning", status, value, low, high, threshold, possible, len(able), "; ".join(notes), 1 / users)


def _leads(matrix: np.ndarray) -> np.ndarray:
    """Own distance minus that to each other user, [users, users]."""
    return np.diag(matrix)[:, None] - matrix


def _metric_rows(found: list[Crossed]) -> list[Metric]:
    rows = []
    for crossed in found:
        for name, part in (("synthetic", crossed.synthetic), ("train", crossed.train)):
            note = "share of users whose nearest real user is themselves"
            share = float(part.wins.mean())
            rows.append(Metric("own_user_is_closest", share, crossed.encoder, set_a="test", set_b=name,
                               n_a=len(part.wins), direction="higher", note=note))  # fmt: skip
            rows += [
                Metric("lead_of_another_user", float(part.lead[user]), crossed.encoder, "user", str(user), "test", name,
                       ci_low=float(part.lead_low[user]), direction="lower", note=f"over {part.nearest[user]}")
                for user in part.lead.index
            ]  # fmt: skip
    return rows


def _per_user(found: list[Crossed]) -> pd.DataFrame:
    return pd.DataFrame({f"lead_{c.encoder}": c.synthetic.lead for c in found}).rename_axis("user")


def _draw(found: list[Crossed]) -> Figure:
    from validation.report.fidelity_figures import cross_matrices

    return cross_matrices({crossed.encoder: crossed.synthetic.matrix for crossed in found})

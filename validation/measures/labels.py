"""Do the labels of a set fit its images? Held against its other images, and between users: exchanged names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from mdgen.data.dataset import SpectrogramSet
from validation.measures.agreement import FEWEST, Agreement, folds_in_time, label_agreement
from validation.measures.learning import Labelled
from validation.measures.recognition import Recognition, effective_count, wilson_interval
from validation.results import Metric
from validation.rules import Rule

if TYPE_CHECKING:
    from validation.context import Context


def agreement_of(context: Context) -> Agreement | None:
    """Of the synthetic set, in the first judge's features, beside roles that this judge has not learned from."""
    sets = context.sets

    def labelled(data: SpectrogramSet) -> Labelled:
        return Labelled(context.features("judge", data), data.table["user"].to_numpy(str))

    real = {role: labelled(rows) for role, rows in sets.unseen.items()}
    folds = {role: folds_in_time(rows.table) for role, rows in sets.unseen.items()}
    return label_agreement(labelled(sets.synthetic), real, sets.users, context.rng("labels"), folds)


def label_rows(found: Agreement | None, count: int) -> list[Metric]:
    """Agreement of `count` synthetic images, and of the real sets beside it."""
    if found is None:
        return []
    note = "labels that the other images of the set confirm"
    return [
        Metric(
            "label_agreement", share.value, "judge", set_b=name, n_b=count if name == "synthetic" else None,
            ci_low=share.low, ci_high=share.high, direction="higher", note=note,
        )
        for name, share in (("synthetic", found.share), *found.real.items())
    ]  # fmt: skip


def exchanged(synthetic: Recognition, real: Recognition, rule: Rule) -> dict[str, str]:
    """By user: whose name fits the user's images better, where names are exchanged in a circle. One user may look like
    another on another day; that both look more like each other than like themselves is no chance.

    A circle counts where more than the rule's share of each user's images look more like the next, surely so over the
    circle, and where real images do not. Pairs come first: somebody who happens to look like one of two exchanged users
    would close a longer circle as well.
    """
    users, found = [str(user) for user in synthetic.per_user.index], dict[str, str]()
    both = np.triu(np.minimum(synthetic.rivals, synthetic.rivals.T) > rule["another_user"], 1)
    pairs = sorted(np.argwhere(both).tolist(), key=lambda pair: -_shares(synthetic, pair).sum())
    for circle in (*pairs, *_circles(synthetic.rivals)):
        shares, usual = _shares(synthetic, circle), _shares(real, circle)
        count = effective_count(synthetic.per_user["n"].to_numpy()[list(circle)])
        surely = wilson_interval(float(shares.mean()), count)[0]
        fits = min(shares.min(), surely) > rule["another_user"] >= usual.mean()
        if fits and found.keys().isdisjoint(users[place] for place in circle):
            found |= {users[a]: users[b] for a, b in _steps(circle)}
    return found


def _shares(found: Recognition, circle: Sequence[int]) -> np.ndarray:
    """Share of each user's images that look more like the next in the circle."""
    return np.array([found.rivals[step] for step in _steps(circle)])


def _steps(circle: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip(circle, [*circle[1:], circle[0]], strict=True))


def _circles(rivals: np.ndarray) -> list[list[int]]:
    """Circles of three and more, when names are dealt out so that most images look more like the new than the old."""
    _, dealt = linear_sum_assignment(rivals + np.eye(len(rivals)) / 2, maximize=True)
    circles, left = [], set(range(len(dealt)))
    while left:
        circle = [left.pop()]
        while dealt[circle[-1]] in left:
            left.remove(dealt[circle[-1]])
            circle.append(int(dealt[circle[-1]]))
        circles.append(circle)
    return [circle for circle in circles if len(circle) > 2]


def mixed_up(found: Agreement | None, rule: Rule) -> str:
    """What to say when the labels of a set surely agree far less with its images than those of real sets do."""
    if found is None or found.highest_ratio >= rule["agreement_fails"]:
        return ""
    return f"labels mixed up: {_agreeing(found)}"


def doubtful(found: Agreement | None, rule: Rule) -> str:
    """What to say when they surely agree less, but no less than right labels of more days may."""
    if found is None or not rule["agreement_fails"] <= found.highest_ratio < rule["agreement_share"]:
        return ""
    return f"labels perhaps mixed up, unless the set is of more days than the real ones: {_agreeing(found)}"


def _agreeing(found: Agreement) -> str:
    made, real = found.share.value, found.usual.value
    return f"{made:.0%} agree with the images of the same set, {real:.0%} of real labels"


def unconfirmed(found: Agreement | None, rule: Rule) -> list[str]:
    """Users whose images surely agree less with each other than a share of what their real ones do."""
    if found is None:
        return []
    table = found.per_user
    return [str(user) for user in table.index[table["high"] < rule["user_agreement"] * table["real"]]]


def unlooked(found: Agreement | None, users: Sequence[str]) -> list[str]:
    """A warning where the labels of some users could not be held against the images of the set."""
    known = [] if found is None else found.per_user.index.tolist()
    left = [user for user in users if user not in known]
    what = f"labels not held against the other images of the set, for want of {FEWEST} real and synthetic ones"
    return [f"{what}: {', '.join(left)}"] if left else []

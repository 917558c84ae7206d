"""Train on synthetic, test on real (TSTR), beside the same network trained on as many real windows (TRTR)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from mdgen.data.dataset import SpectrogramSet
from validation.measures.learning import macro, random_places
from validation.measures.recognition import telling_apart, wilson_interval
from validation.measures.resampling import Interval
from validation.networks.judge import Judge
from validation.results import ADVISORY, FAIL, INCONCLUSIVE, PASS, Gate, Metric
from validation.rules import Rule


@dataclass(frozen=True)
class Transfer:
    """Real windows that nobody trained on, recognised or not. real, synthetic: bool [seeds, N], by what the networks
    were trained on. users, groups: [N], whose windows they are and of which recording. counts: windows of each user
    that were trained on, the same number of either kind."""

    real: np.ndarray
    synthetic: np.ndarray
    users: np.ndarray
    groups: np.ndarray
    counts: dict[str, int]

    @property
    def per_user(self) -> pd.DataFrame:
        """One row per user: tstr, tstr_low, tstr_high, trtr, trtr_low, trtr_high (Wilson), n_unseen."""
        rows = {}
        for user in np.unique(self.users):
            own = self.users == user
            row: dict[str, float] = {}
            for name, right in (("tstr", self.synthetic), ("trtr", self.real)):
                share = float(right[:, own].mean())
                low, high = wilson_interval(share, int(own.sum()))
                row |= {name: share, f"{name}_low": low, f"{name}_high": high}
            rows[str(user)] = row | {"n_unseen": int(own.sum())}
        return pd.DataFrame.from_dict(rows, orient="index").astype({"n_unseen": int}).rename_axis("user")


def equal_counts(real: SpectrogramSet, synthetic: SpectrogramSet) -> dict[str, int]:
    """Windows that each user has in both sets; all real ones of a user without any synthetic."""
    have, made = (data.table["user"].value_counts() for data in (real, synthetic))
    return {str(user): int(min(count, made.get(user, count))) for user, count in have.items()}


def rights(
    template: Judge, data: SpectrogramSet, counts: dict[str, int], test: SpectrogramSet, seeds: Sequence[int]
) -> np.ndarray:
    """bool [seeds, N]: the windows of `test` that a network like `template` recognises. It is trained anew for each
    seed, on a random draw of `counts` windows per user from `data`."""
    users, truth = data.table["user"].to_numpy(), test.table["user"].to_numpy()
    wanted = np.array([counts[user] for user in users])
    found = []
    for seed in seeds:
        drawn = random_places(users, np.random.default_rng([seed, 1])) < wanted
        judge = Judge(**{**template.get_params(), "seed": seed}).fit(data.images[drawn], users[drawn])
        found.append(judge.predict(test.images) == truth)
    return np.array(found)


def least_of_real(one: pd.Series, other: pd.Series) -> float:
    """The least share that one set of real windows teaches of what another teaches about the same user.

    one, other: accuracy on the same real windows, by user. Only of users that either teaches are shares taken; 1 where
    there is none.
    """
    most, least = np.maximum(one, other), np.minimum(one, other)
    taught = most > telling_apart(len(one))
    return float((least[taught] / most[taught]).min()) if taught.any() else 1.0


def failing_users(per_user: pd.DataFrame, share: float) -> list[str]:
    """Users whose upper bound of TSTR is below `share` of the lower bound of TRTR; `per_user` as of `Transfer`."""
    return [str(user) for user in per_user.index[per_user["tstr_high"] < share * per_user["trtr_low"]]]


def tstr_gate(
    found: Transfer,
    margins: tuple[Interval, Interval],
    rule: Rule,
    floor: float,
    failing: Sequence[str] = (),
    missing: Sequence[str] = (),
    advisory: str = "",
) -> Gate:
    """Synthetic windows teach nearly what as many real ones do, and something about every user.

    margins: `macro_intervals` of TSTR - least_share x TRTR. Pass: TSTR reaches ceiling_share x TRTR, and the margin is
    surely not negative here. Fail: it is surely negative whatever days and users are drawn (real windows of a single
    other day teach less too), a user fails alone (`failing_users`) or has no images. Where real windows teach nothing
    either, nothing else is decided. floor: what windows under shuffled names teach.
    """
    here, elsewhere = margins
    ceiling, value = macro(found.real, found.users), macro(found.synthetic, found.users)
    threshold, least = rule["ceiling_share"] * ceiling, rule["least_share"] * ceiling
    notes = [f"{value:.0%} of unseen real windows recognised, against {ceiling:.0%} taught by as many real windows"]
    if ceiling < telling_apart(len(found.counts)):
        status = INCONCLUSIVE
        notes.append("real windows do not teach who is who either, so nothing is decided")
    elif elsewhere.high < 0:
        status = FAIL
        notes.append(f"surely below {rule['least_share']:.0%} of that")
    elif value >= threshold and here.low >= 0:
        status = PASS
    else:
        status = INCONCLUSIVE
        notes.append(
            f"{rule['ceiling_share']:.0%} of that is asked for, and surely {rule['least_share']:.0%}; real windows of "
            "few other days may miss it too"
        )
    if failing:
        status = FAIL
        notes.append("the synthetic windows do not teach: " + ", ".join(failing))
    if missing:
        status = FAIL
        notes.append("no synthetic images of: " + ", ".join(missing))
    if advisory:
        status = FAIL if status == FAIL else ADVISORY
        notes.append(advisory)
    low, high, count = here.low + least, here.high + least, len(found.users)
    return Gate("tstr", status, value, low, high, threshold, ceiling, count, "; ".join(notes), floor=floor)


def transfer_rows(found: Transfer, synthetic: Interval, real: Interval) -> list[Metric]:
    """Macro accuracy with its interval, and each user's with Wilson's."""
    rows = []
    for name, right, macros in (("tstr", found.synthetic, synthetic), ("trtr", found.real, real)):
        by_seed = "by seed: " + ", ".join(f"{macro(row[None], found.users):.3f}" for row in right)
        taught = "synthetic" if name == "tstr" else "train"
        row = Metric(
            name, macros.value, "network", set_a=taught, set_b="test", ci_low=macros.low, ci_high=macros.high,
            n_a=sum(found.counts.values()), n_b=len(found.users), direction="higher", note=by_seed,
        )  # fmt: skip
        rows.append(row)
        for user, own in found.per_user.iterrows():
            rows.append(
                replace(
                    row, scope="user", user=str(user), value=own[name], ci_low=own[f"{name}_low"],
                    ci_high=own[f"{name}_high"], n_a=found.counts[str(user)], n_b=int(own["n_unseen"]), note="",
                )
            )  # fmt: skip
    return rows

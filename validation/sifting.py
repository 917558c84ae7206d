"""Sifting without fooling oneself: one judge chooses the synthetic images, others, of other recordings, score them.

The sifting judge learns from half of the recordings of role `judge`; those rows are then taken out of the real data, so
that a report on what was kept is written by judges that never met them. Whoever sifts shows both reports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from mdgen.data.dataset import SpectrogramSet
from mdgen.data.splits import assign_roles
from mdgen.errors import MdgenError
from validation.measures.distances import KernelTest, kernel_test, standardise
from validation.networks.encoders import pixels_pca
from validation.networks.judge import Judge
from validation.settings import ValidationSettings

#: Share of a user's real held-out images that the sifting judge accepts, by calibration.
REAL_PASS_RATE = 0.9
#: Fewer held-out images of a user than this do not give a threshold; then all users' together do.
MIN_CALIBRATION = 8
COMPONENTS = 64
#: The sifting judge starts elsewhere than the judges of the report, which count up from the seed.
_OTHER_SEED = 1000


@dataclass(frozen=True)
class Sifted:
    """kept: the accepted synthetic rows. real: the real data to judge them by (and the unfiltered set beside them): the
    sifting judge's rows have role "unused". yields: one row per user, columns given, unlikely, implausible, kept, yield
    and real_pass_rate (of the rows that set the threshold). notes: yield and bias in words."""

    kept: SpectrogramSet
    real: SpectrogramSet
    yields: pd.DataFrame
    notes: list[str]


def sift(
    real: SpectrogramSet,
    synthetic: SpectrogramSet,
    settings: ValidationSettings,
    implausible: Mapping[int, str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Sifted:
    """Keep the synthetic images that a judge of users accepts as readily as real ones and that no block objects to.

    An image is accepted when the judge's probability of its user reaches what 90 % of that user's real images of role
    val reach. implausible: row number in `synthetic` -> reason (`Finding.implausible`). Raises `MdgenError` where
    `real` has no rows of role judge or val, or where hardly anything is left.
    """
    say = progress or (lambda _: None)
    sifting, remaining = split_judge_rows(real, settings.seed)
    say(f"sifting judge on {len(sifting)} real images; other judges will score what it keeps")
    s = settings
    judge = Judge(s.seed + _OTHER_SEED, s.judge_steps, s.batch_size, s.judge_size)
    judge.fit(sifting.images, sifting.table["user"].to_numpy())
    users = synthetic.table["user"].to_numpy()
    thresholds, real_rates = calibrate(judge, real.role("val"), synthetic.users)
    likely = own_probability(judge, synthetic) >= np.array([thresholds[user] for user in users])
    plausible = ~np.isin(np.arange(len(synthetic)), list(implausible or {}))
    yields = _yields(users, likely, plausible, synthetic.users).assign(real_pass_rate=real_rates)
    if yields["kept"].sum() < 2:
        raise MdgenError(f"{synthetic.name}: sifting leaves nothing; these images show nobody that the judge knows")
    kept = synthetic.select(likely & plausible)
    return Sifted(kept, remaining, yields, _notes(yields, kernel_distances(remaining, synthetic, kept, seed=s.seed)))


def split_judge_rows(real: SpectrogramSet, seed: int) -> tuple[SpectrogramSet, SpectrogramSet]:
    """(half of role judge for sifting, `real` with that half unused): whole sessions, else recordings, else parts.

    Raises `MdgenError` where there are no rows of role judge, or too few of some user to be halved.
    """
    rows = np.flatnonzero(real.table["split"] == "judge")
    if not len(rows):
        raise MdgenError(f"{real.name}: sifting needs rows of role judge; give the data roles (`mdgen import` does)")
    halves = assign_roles(real.table.iloc[rows].reset_index(drop=True), {"train": 0.5, "judge": 0.5}, seed).to_numpy()
    split = real.table["split"].to_numpy(copy=True)
    split[rows[halves != "judge"]] = "unused"
    return real.select(rows[halves == "train"]), replace(real, table=real.table.assign(split=split))


def own_probability(judge: Judge, data: SpectrogramSet) -> np.ndarray:
    """The judge's probability of each image's own user, float64 [N]; 0 for a user it never met."""
    classes = {user: column for column, user in enumerate(judge.classes_)}
    columns = data.table["user"].map(classes).fillna(-1).astype(int).to_numpy()
    return np.where(columns >= 0, judge.predict_proba(data.images)[np.arange(len(data)), columns], 0.0)


def calibrate(judge: Judge, val: SpectrogramSet, users: list[str]) -> tuple[dict[str, float], list[float]]:
    """(threshold of each user, share of the user's real images that pass it). Raises `MdgenError` for no rows."""
    if not len(val):
        raise MdgenError(f"{val.name}: sifting needs rows of role val for its thresholds; give the data roles")
    probability, names = own_probability(judge, val), val.table["user"].to_numpy()
    overall = float(np.quantile(probability, 1 - REAL_PASS_RATE))
    thresholds, rates = {}, []
    for user in users:
        own = probability[names == user]
        thresholds[user] = float(np.quantile(own, 1 - REAL_PASS_RATE)) if len(own) >= MIN_CALIBRATION else overall
        rates.append(float((own >= thresholds[user]).mean()) if len(own) else np.nan)
    return thresholds, rates


def kernel_distances(real: SpectrogramSet, *sets: SpectrogramSet, seed: int = 0) -> list[KernelTest]:
    """Kernel distance of each of `sets` to real rows of role test, over principal components of role judge's pixels."""
    judge = real.role("judge").images
    encode = pixels_pca(judge, COMPONENTS)
    test, *others = standardise(encode(judge), *(encode(data.images) for data in (real.role("test"), *sets)))
    return [kernel_test(features, test, np.random.default_rng(seed)) for features in others]


def _yields(users: np.ndarray, likely: np.ndarray, plausible: np.ndarray, names: list[str]) -> pd.DataFrame:
    columns = {"given": np.ones(len(users)), "unlikely": ~likely, "implausible": ~plausible, "kept": likely & plausible}
    table = pd.DataFrame(columns).astype(int).groupby(users).sum().reindex(names).rename_axis("user")
    return table.assign(**{"yield": table["kept"] / table["given"]})


def _notes(yields: pd.DataFrame, distances: list[KernelTest]) -> list[str]:
    before, after = distances
    away = "; sifting moved the set away from real data" if after.ci_low > before.ci_high else ""
    losing = yields.sort_values("yield").head(3)
    named = ", ".join(f"{user} ({share:.0%})" for user, share in losing["yield"].items())
    gone = yields.index[yields["kept"] == 0].tolist()
    given, kept = int(yields["given"].sum()), int(yields["kept"].sum())
    return [
        f"kept {kept} of {given} images ({kept / given:.0%}); of the real images that set the thresholds "
        f"{yields['real_pass_rate'].mean():.0%} pass",
        f"least is left of {named}" + (f"; nothing of {', '.join(gone)}" if gone else ""),
        f"kernel distance to held-out real images (pixels): {_words(before)} before, {_words(after)} after{away}",
    ]


def _words(distance: KernelTest) -> str:
    return f"{distance.value:.3f} ({distance.ci_low:.3f} to {distance.ci_high:.3f})"

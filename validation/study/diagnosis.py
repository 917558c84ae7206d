"""What windows made for newcomers are like, beside real ones: whose they are, how they vary, what they copy.

The newcomers' unseen recordings serve as the yardstick only after everything is made; nothing is chosen by it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import wasserstein_distance
from sklearn.base import ClassifierMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from mdgen.data.dataset import SpectrogramSet
from validation.measures.background import Layout, background
from validation.measures.copies import HonestScale, closest_copies, honest_scale
from validation.measures.kinematics import measure
from validation.measures.scales import scales_of
from validation.rules import shipped_rules
from validation.study.classifiers import linear
from validation.study.trials import Trial

SIDE = 64
SEEN, UNSEEN = "real, seen", "real, unseen"
MOTION = ("torso_velocity", "torso_swing", "upper_envelope", "lower_envelope", "bandwidth", "centroid", "step_period")


def diagnose(trial: Trial, made: Mapping[str, SpectrogramSet]) -> pd.DataFrame:
    """One row for each set of made windows, the real windows seen and the newcomers' unseen ones.

    recognised: share that a linear discriminant taught the unseen recordings takes for their owner (of the unseen ones,
    taught half of their recordings). teaches: accuracy on the unseen recordings of one taught these windows alone.
    profile_spread: variance within people of the mean level of Doppler rows, as a share of the unseen recordings'.
    motion_distance: Wasserstein distance of motion (mean of `MOTION`) to the unseen recordings of the person, in
    standard deviations of these. near_copies: share that looks like a copy of a window seen. background_identity: as
    `teaches`, from what is not motion alone.
    """
    first = trial.halves()
    scale = honest_scale(_together(trial.known, trial.few), SIDE)
    layout = Layout.of(trial.known)
    rows = []
    for name, part in {SEEN: trial.few, **made, UNSEEN: trial.test.select(first)}.items():
        others = trial.test.select(~first) if name == UNSEEN else trial.test
        rows.append(
            {
                "seed": trial.seed,
                "recordings": trial.recordings,
                "windows": trial.windows,
                "made": name,
                "recognised": _accuracy(linear(trial), others, part),
                "teaches": _accuracy(linear(trial), part, others),
                "profile_spread": _spread(part) / _spread(trial.test),
                "motion_distance": _motion_distance(part, others),
                "near_copies": float("nan") if name == SEEN else _copies(part, trial.few, scale),
                "background_identity": _background_identity(part, others, layout),
            }
        )
    return pd.DataFrame(rows)


def _together(first: SpectrogramSet, second: SpectrogramSet) -> SpectrogramSet:
    table = pd.concat([first.table, second.table], ignore_index=True)
    return SpectrogramSet(np.concatenate([first.images, second.images]), table, second.name)


def _accuracy(model: ClassifierMixin, teach: SpectrogramSet, test: SpectrogramSet) -> float:
    """Mean over people of the share recognised."""
    return _macro(model.fit(teach.images, teach.table["user"].to_numpy()).predict(test.images), test)


def _macro(found: np.ndarray, test: SpectrogramSet) -> float:
    return float(pd.Series(found == test.table["user"].to_numpy()).groupby(test.table["user"].to_numpy()).mean().mean())


def _spread(data: SpectrogramSet) -> float:
    profile = pd.DataFrame(data.images.mean(axis=(1, 3)))
    return float(profile.groupby(data.table["user"].to_numpy()).var().sum(axis=1).mean())


def _motion_distance(made: SpectrogramSet, real: SpectrogramSet) -> float:
    ours, theirs = (measure(data.images, scales_of(data, physical=False))[list(MOTION)] for data in (made, real))
    found = []
    for user in real.users:
        mine = ours[(made.table["user"] == user).to_numpy()]
        for name in MOTION:
            a, b = mine[name].dropna(), theirs.loc[(real.table["user"] == user).to_numpy(), name].dropna()
            if len(a) and len(b) > 1 and b.std() > 0:
                found.append(wasserstein_distance(a, b) / b.std())
    return float(np.mean(found))


def _copies(made: SpectrogramSet, few: SpectrogramSet, scale: HonestScale | None) -> float:
    if scale is None:
        return float("nan")
    return closest_copies(made, few, scale, SIDE).share_above(shipped_rules()["memorisation"]["score"])


def _background_identity(teach: SpectrogramSet, test: SpectrogramSet, layout: Layout) -> float:
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    model.fit(background(teach.images, layout), teach.table["user"].to_numpy())
    return _macro(model.predict(background(test.images, layout)), test)

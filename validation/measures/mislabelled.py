"""What share of a set does not show the user its label says? From the probabilities that judges give.

Real images that no judge saw tell how probable judges find the right user (f) and each of the wrong ones (g). The
probabilities of the labels of a set with a share p of wrong ones are distributed as (1 - p) f + p g.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

#: Cells of the histograms; their edges are quantiles, so that each holds about as many probabilities.
BINS = 12
DRAWS = 100


@dataclass(frozen=True)
class Mislabelled:
    """share: of images that are not of their user, in excess of real ones; about 0 for those. low: one-sided 95 %
    bound by resampling images. usual: what one real session a user reaches by chance, one-sided 95 %."""

    share: float
    low: float
    usual: float


def mislabelled_share(chances: pd.DataFrame, unseen: pd.DataFrame, rng: np.random.Generator) -> Mislabelled | None:
    """chances, unseen: `Recognition.chances` of the set and of unseen real images. None where the judges give right and
    wrong users the same probabilities."""
    right, wrong = own_chances(unseen), _other_chances(unseen)
    edges = np.unique(np.quantile(np.concatenate([right, wrong]), np.linspace(0, 1, BINS + 1)[1:-1]))
    f, g = _histogram(right.to_numpy(), edges), _histogram(wrong, edges)
    if np.abs(f - g).max() < 1e-6:
        return None

    def share(values: np.ndarray) -> float:
        """Weighted least squares of the histogram minus f on g minus f."""
        weight = (g - f) / (f + g)
        return float((_histogram(values, edges) - f) @ weight / ((g - f) @ weight))

    mine = own_chances(chances).to_numpy()
    drawn = [share(rng.choice(mine, len(mine))) for _ in range(DRAWS)]
    sessions = right.groupby(level=[0, 1]).agg(lambda own: share(own.to_numpy()))
    spread = np.sqrt(sessions.groupby(level=0).var().mean())
    users = chances.index.get_level_values(0).nunique()
    usual = 1.64 * float(np.nan_to_num(spread)) / users**0.5
    return Mislabelled(share(mine), float(np.quantile(drawn, 0.05)), usual)


def own_chances(chances: pd.DataFrame) -> pd.Series:
    """The probability of each row's own user, with the rows' index."""
    return pd.Series((chances.to_numpy() * _is_own(chances)).sum(axis=1), chances.index)


def _other_chances(chances: pd.DataFrame) -> np.ndarray:
    return chances.to_numpy()[~_is_own(chances)]


def _is_own(chances: pd.DataFrame) -> np.ndarray:
    return chances.index.get_level_values(0).to_numpy()[:, None] == chances.columns.to_numpy()


def _histogram(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Shares of the cells, each with half an image more than it has."""
    counts = np.bincount(np.digitize(values, edges), minlength=len(edges) + 1) + 0.5
    return counts / counts.sum()

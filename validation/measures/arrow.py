"""The direction of time: what of a picture changes its sign when the picture runs backwards, and a model of it.

Whether a picture runs forwards or backwards can only be read off features that change sign under time reversal. A model
of nothing else gives a picture and its mirror image opposite answers, whatever the session: its zero, "no direction at
all", is known and need not be learned.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array, vstack
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from validation.measures.fingerprints import BANDS, CHUNK, banded, lead_and_lag, skewed_changes

COARSE_BANDS = 4
LONG_LAGS = (2, 4, 8, 16)
CLIP = 4.0  #: standard deviations; one odd feature cannot outvote all others
PENALTY = 0.01  #: inverse strength of the L2 penalty, as in scikit-learn


def directions(images: np.ndarray) -> np.ndarray:
    """Features of images [N, C, H, W] (mean over channels), at least 16 x 16 pixels: float64 [N, D]. Those of the
    images reversed in time are the same, negated."""
    parts = []
    for start in range(0, len(images), CHUNK):
        pixels = images[start : start + CHUNK].mean(axis=1, dtype=np.float64)
        bands = banded(pixels, BANDS)
        groups = (lead_and_lag(bands), skewed_changes(pixels, bands), bursts(banded(pixels, COARSE_BANDS)))
        parts.append(np.concatenate(groups, axis=1))
    return np.concatenate(parts)


def bursts(bands: np.ndarray) -> np.ndarray:
    """Whether strong echoes of band i come before those of band j or after: [N, bands, W] -> [N, bands^2 x lags].

    Mean of x_i(t)^2 x_j(t + lag) - x_i(t)^2 x_j(t - lag): third moments that change sign under time reversal, the
    symmetric bicovariance of Ramsey and Rothman (1996) of two series instead of one.
    """
    scaled = bands - bands.mean(axis=2, keepdims=True)
    scaled /= np.sqrt((scaled**2).mean(axis=2, keepdims=True)) + 0.02
    found = []
    for lag in (lag for lag in LONG_LAGS if 2 * lag < bands.shape[2]):
        early, late = scaled[:, :, :-lag], scaled[:, :, lag:]
        after, before = (np.einsum("nit,njt->nij", x**2, y) for x, y in ((early, late), (late, early)))
        found.append((after - before).reshape(len(bands), -1) / early.shape[2])
    return np.concatenate(found, axis=1)


class Arrow:
    """Logistic regression without intercept: weights that all users share, and each user's departure from them.

    Both are penalised, so a user of whom little is known is judged as the others are (Evgeniou and Pontil 2004).
    """

    def __init__(self, forwards: np.ndarray, users: np.ndarray) -> None:
        """forwards: `directions` [N, D] of genuine images, of `users` [N]."""
        self._scale = np.sqrt((forwards**2).mean(axis=0)) + 1e-6
        self._users = np.unique(users)
        rows = self._design(forwards, users)
        labels = np.repeat([0, 1], len(forwards))
        model = LogisticRegression(C=PENALTY, fit_intercept=False, max_iter=200)
        self._weights = model.fit(vstack([rows, -rows], format="csr"), labels).coef_[0]

    def scores(self, features: np.ndarray, users: np.ndarray) -> np.ndarray:
        """Probability that each row of `directions` [N, D] runs backwards."""
        return expit(self._design(features, users) @ self._weights)

    def _design(self, features: np.ndarray, users: np.ndarray) -> csr_array:
        """[N, (1 + users) D]: what all share, and the same once more in the columns of the row's own user, if known."""
        scaled = (features / self._scale).clip(-CLIP, CLIP)
        count, width = scaled.shape
        user = np.searchsorted(self._users, users).clip(max=len(self._users) - 1)
        own = scaled * (self._users[user] == users)[:, None]
        columns = np.arange(width) + width * np.stack([np.zeros_like(user), 1 + user], axis=1)[:, :, None]
        return csr_array(
            (np.hstack([scaled, own]).ravel(), columns.ravel(), 2 * width * np.arange(count + 1)),
            shape=(count, width * (1 + len(self._users))),
        )
